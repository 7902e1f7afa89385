"""Safetensors: exact both ways, the same bytes each time, and no damaged file is ever read as a good one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from ownlm.errors import CorruptModel, NotFound
from ownlm.model import safetensors

SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def tensors() -> dict:
    rng = np.random.default_rng(1)
    return {
        "a.weight": ("F32", rng.normal(size=(5, 7)).astype("f4")),
        "a.blocks": ("U8", rng.integers(0, 255, (3, 34), np.uint8)),
        "half": ("F16", rng.normal(size=9).astype("f2")),
        "brain": ("BF16", rng.integers(0, 2**16, (2, 3)).astype("u2")),
        "ids": ("I64", np.arange(4)),
        "empty": ("F32", np.zeros((0, 3), "f4")),
        "scalar": ("F32", np.array(3.5, "f4")),
        "naïve": ("I8", np.array([-1, 2], np.int8)),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    safetensors.write(tmp_path / "m.safetensors", tensors(), {"format": "pt"})
    return tmp_path / "m.safetensors"


def raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + data)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    found = safetensors.read(path)
    assert found.metadata["format"] == "pt"
    for name, (dtype, array) in tensors().items():
        assert found.tensors[name].dtype == dtype
        assert found.tensors[name].shape == array.shape
        np.testing.assert_array_equal(found.tensors[name].array, array)


def test_reading_maps_the_file_and_copies_nothing(path: Path) -> None:
    for tensor in safetensors.read(path).tensors.values():
        assert not tensor.array.flags.owndata
        assert not tensor.array.flags.writeable
        assert tensor.array.flags.aligned


def test_equal_tensors_give_equal_bytes(tmp_path: Path, path: Path) -> None:
    backwards = dict(reversed(tensors().items()))
    safetensors.write(tmp_path / "again", backwards, {"format": "pt"})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_reference_library_reads_ours_and_we_read_its(tmp_path: Path, path: Path) -> None:
    plain = {name: array for name, (dtype, array) in tensors().items() if dtype != "BF16"}
    safetensors.write(path, {name: tensors()[name] for name in plain})
    theirs = load_file(path)
    save_file(plain, tmp_path / "theirs", {"format": "np"})
    ours = safetensors.read(tmp_path / "theirs")
    assert ours.sha256 is None
    for name, array in plain.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours.tensors[name].array, array)


def test_half_precisions_become_float32() -> None:
    values = np.array([0.0, -1.5, 3.140625, np.inf], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(safetensors.Tensor("b", "BF16", bits).float32(), values)
    np.testing.assert_array_equal(safetensors.Tensor("h", "F16", values.astype("f2")).float32(), values)
    with pytest.raises(CorruptModel, match="I64"):
        safetensors.Tensor("i", "I64", np.arange(3)).float32()


def test_truncated_anywhere_is_found(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for size in {*range(0, len(whole), 7), *range(12), *range(len(whole) - 12, len(whole))}:
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(CorruptModel, match="damaged"):
            safetensors.read(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(whole + b"\0")
    with pytest.raises(CorruptModel, match="data"):
        safetensors.read(tmp_path / "cut")


def test_one_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "small", {"a": ("F32", np.arange(3, dtype="f4")), "b": ("U8", np.zeros(5, "u1"))})
    whole = (tmp_path / "small").read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(flipped)
        with pytest.raises(CorruptModel):
            safetensors.read(tmp_path / "flipped")


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_without_checksum_is_refused_or_consistent(tmp_path: Path, edits: list) -> None:
    target = tmp_path / "theirs"
    save_file({"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.arange(4)}, target)
    damaged = bytearray(target.read_bytes())
    for at, value in edits:
        damaged[at % len(damaged)] = value
    target.write_bytes(damaged)
    try:
        found = safetensors.read(target)
    except CorruptModel:
        return
    assert sum(tensor.array.nbytes for tensor in found.tensors.values()) <= 56


@SETTINGS
@given(st.binary(max_size=300))
def test_random_bytes_are_no_model(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "noise").write_bytes(data)
    with pytest.raises(CorruptModel):
        safetensors.read(tmp_path / "noise")


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"a": {**ENTRY, "data_offsets": [0, 16]}}, "does not take 16 bytes"),
        ({"a": {**ENTRY, "data_offsets": [8, 0]}}, "does not take -8"),
        ({"a": {**ENTRY, "data_offsets": [-8, 0]}}, "not a natural number"),
        ({"a": {**ENTRY, "data_offsets": [4, 12]}}, "starts at byte 4"),
        ({"a": ENTRY, "b": ENTRY}, "'b' starts at byte 0 of the data, not at 8"),
        ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [8, 16]}}, "it has 8 bytes of data where its header describes 16"),
        ({"a": {**ENTRY, "dtype": "F31"}}, "unknown dtype 'F31'"),
        ({"a": {**ENTRY, "dtype": ["F32"]}}, "incomplete"),
        ({"a": {**ENTRY, "shape": [2.0]}}, "not a natural number"),
        ({"a": {**ENTRY, "shape": [True, 2]}}, "not a natural number"),
        ({"a": {**ENTRY, "shape": [2] + [1] * 64}}, "no valid shape"),
        ({"a": {**ENTRY, "shape": [2**62, 2**62]}}, "does not take"),
        ({"a": {"dtype": "F32"}}, "incomplete"),
        ({"a": 3}, "incomplete"),
        ([ENTRY], "not a JSON object"),
        ({"__metadata__": {"n": 1}, "a": ENTRY}, "metadata is not text"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{}}', "a name occurs twice"),
        (b"\xff\xfe{}", "not valid"),
        (b"[" * 100_000, "not valid"),
        (b"", "claims 0 bytes"),
    ],
)
def test_a_header_that_lies_is_named(tmp_path: Path, header: object, what: str) -> None:
    with pytest.raises(CorruptModel, match=what):
        safetensors.read(raw(tmp_path / "lie", header, bytes(8)))


@pytest.mark.parametrize("length", [1, 2**31, 2**63, 2**64 - 1, 100_000_001])
def test_an_absurd_header_length_is_refused_without_allocating(tmp_path: Path, length: int) -> None:
    with pytest.raises(CorruptModel, match=f"claims {length} bytes"):
        safetensors.read(raw(tmp_path / "long", {"a": ENTRY}, bytes(8), length))


def test_metadata_may_be_null(tmp_path: Path) -> None:
    found = safetensors.read(raw(tmp_path / "null", {"__metadata__": None, "a": ENTRY}, bytes(8)))
    assert found.metadata == {}
    assert found.tensors["a"].array.tolist() == [0, 0]


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not there"):
        safetensors.read(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(CorruptModel, match="0 bytes"):
        safetensors.read(tmp_path / "empty")
    with pytest.raises(CorruptModel, match="cannot be read"):
        safetensors.read(tmp_path)


def test_a_failed_write_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyError):
        safetensors.write(path, {"a": ("F31", np.zeros(3))})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]

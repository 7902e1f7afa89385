"""The GGUF container: against the ``gguf`` package both ways, and against damage of every kind."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import CorruptModel, ModelError, NotFound, UnsupportedModel
from ownlm.formats import FORMATS, bfloat16
from ownlm.model import gguf
from ownlm.model.gguf import write as gguf_write
from ownlm.model.gguf.types import Value
from ownlm.model.gguf.write import Planned

reference = pytest.importorskip("gguf")

METADATA = {
    "general.architecture": Value("str", "llama"),
    "a.bool": Value("bool", True),
    "a.f32": Value("f32", 0.5),
    "a.f64": Value("f64", 0.1),
    **{f"a.{kind}": Value(kind, 7) for kind in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")},
    "a.strings": Value("str", ["x", "ä", ""], array=True),
    "a.numbers": Value("i32", [-1, 0, 1], array=True),
    "a.bools": Value("bool", [True, False], array=True),
    "a.none": Value("f32", [], array=True),
}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape, dtype=np.float32)


def planned() -> dict[str, Planned]:
    w = weights(4, 256)
    tensors = {
        "plain.f32": Planned("F32", (4, 256), lambda: w),
        "plain.f16": Planned("F16", (3, 5), lambda: w[:3, :5].astype("<f2")),
        "plain.bf16": Planned("BF16", (4, 256), lambda: bfloat16.from_float32(w)),
        "vector": Planned("F32", (7,), lambda: w[0, :7]),
        "experts": Planned("q8_0", (2, 2, 256), lambda: FORMATS["q8_0"].quantize(w).reshape(2, 2, -1)),
    }
    for name, form in FORMATS.items():
        tensors[f"blocks.{name}"] = Planned(name, (4, 256), lambda form=form: form.quantize(w))
    return tensors


def example(path: Path) -> Path:
    gguf_write.write(path, METADATA, planned())
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = gguf.read(example(tmp_path / "a.gguf"))
    assert file.version == 3
    assert file.metadata == {key: value.value for key, value in METADATA.items()}
    for name, tensor in planned().items():
        assert np.array_equal(file.tensors[name].array, tensor.make()), name
        assert file.tensors[name].weights_shape == tensor.shape
        assert not file.tensors[name].array.flags.writeable


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    assert example(tmp_path / "a").read_bytes() == example(tmp_path / "b").read_bytes()


def test_the_reference_reads_what_we_write(tmp_path: Path) -> None:
    reader = reference.GGUFReader(example(tmp_path / "a.gguf"))
    assert reader.fields["a.strings"].contents() == ["x", "ä", ""]
    assert reader.fields["a.i8"].contents() == 7
    assert [tensor.name for tensor in reader.tensors] == list(planned())
    for tensor in reader.tensors:
        ours = gguf.read(tmp_path / "a.gguf").tensors[tensor.name]
        back = reference.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(back.reshape(ours.weights_shape), ours.float32())


def test_we_read_what_the_reference_writes(tmp_path: Path) -> None:
    writer = reference.GGUFWriter(tmp_path / "a.gguf", "qwen2")
    writer.add_context_length(77)
    writer.add_array("a.names", ["one", "two"])
    writer.add_tensor("w", weights(3, 5))
    writer.add_tensor("q", FORMATS["q4_0"].quantize(weights(4, 64)), raw_dtype=reference.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = gguf.read(tmp_path / "a.gguf")
    assert file.sha256 is None
    assert file.metadata["general.architecture"] == "qwen2"
    assert file.metadata["qwen2.context_length"] == 77
    assert file.metadata["a.names"] == ["one", "two"]
    assert np.array_equal(file.tensors["w"].array, weights(3, 5))
    assert file.tensors["q"].format == "q4_0"
    assert np.array_equal(file.tensors["q"].array, FORMATS["q4_0"].quantize(weights(4, 64)))


def test_500_mutations_of_a_file_without_checksum(tmp_path: Path) -> None:
    """Nothing but our own errors, whatever happened to the bytes; what still opens can be read to its end."""
    whole = example(tmp_path / "a.gguf").read_bytes().replace(gguf.SEAL, bytes(len(gguf.SEAL)))
    header = whole.index(b"blocks.mxfp4") + 60
    rng = random.Random(3)
    refused = 0
    for number in range(500):
        data = bytearray(whole)
        match number % 4:
            case 0:  # cut off
                del data[rng.randrange(len(data)) :]
            case 1:  # one bit, in the header
                data[rng.randrange(header)] ^= 1 << rng.randrange(8)
            case 2:  # a number made absurd
                at = rng.randrange(header)
                data[at : at + 8] = struct.pack(
                    "<Q", rng.choice([0, 1 << 31, 1 << 63, (1 << 64) - 1, rng.getrandbits(40)])
                )
            case _:  # noise
                for _ in range(8):
                    data[rng.randrange(header)] = rng.randrange(256)
        path = tmp_path / "mutant.gguf"
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"):
                for tensor in gguf.read(path).tensors.values():
                    if tensor.format or tensor.dtype in ("F32", "F16", "BF16", "F64"):
                        tensor.float32()
        except ModelError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 250


def test_no_flipped_bit_passes_the_checksum(tmp_path: Path) -> None:
    path = example(tmp_path / "a.gguf")
    whole = path.read_bytes()
    rng = random.Random(4)
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(ModelError):
            # A bit in the seal's mark hides the checksum: what follows the tensors then means nothing.
            if gguf.read(path).sha256 is None:
                raise CorruptModel("")


def test_a_file_that_another_program_wrote_anew_is_not_taken_for_damaged(tmp_path: Path) -> None:
    """llama-quantize copies keys and changes tensors: no key may vouch for bytes."""
    ours = gguf.read(example(tmp_path / "a.gguf"))
    writer = reference.GGUFWriter(tmp_path / "b.gguf", "llama")
    for key, value in ours.metadata.items():
        if isinstance(value, str) and key != "general.architecture":
            writer.add_string(key, value)
    writer.add_tensor("w", weights(3, 5))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert ours.sha256 is not None
    assert gguf.read(tmp_path / "b.gguf").sha256 is None


def header(version: int = 3, tensors: int = 0, keys: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


KEY = text("k") + struct.pack("<II", 4, 1)
ALIGN = text("general.alignment")


def info(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"", "cannot be read"),
        (b"GGU", "header cannot go beyond"),
        (b"GGML" + bytes(20), "does not begin with GGUF"),
        (header(tensors=1 << 60), "claims 1152921504606846976 tensors"),
        (header(keys=1 << 60), "claims 1152921504606846976 keys"),
        (header(keys=1) + struct.pack("<Q", 1 << 62) + bytes(9), "characters"),
        (header(keys=2) + KEY + KEY, "'k' occurs twice"),
        (header(keys=1) + text("k") + struct.pack("<II", 99, 1), "unknown kind 99"),
        (header(keys=1) + text("k") + struct.pack("<IB", 7, 2), "neither 0 nor 1"),
        (header(keys=1) + struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<II", 4, 1), "not UTF-8"),
        (header(keys=1) + text("k") + struct.pack("<IIQ", 9, 4, 1 << 61), "elements"),
        (header(keys=1) + text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50, "nested"),
        (header(keys=1) + ALIGN + struct.pack("<II", 4, 0), "power of two"),
        (header(keys=1) + ALIGN + struct.pack("<II", 4, 48), "power of two"),
        (header(tensors=1) + info("t", (2,) * 5), "5 dimensions"),
        (header(tensors=1) + info("t", (1 << 63, 0)) + bytes(64), "holds nothing"),
        (header(tensors=1) + info("t", (1 << 40,) * 4) + bytes(64), "ends at byte"),
        (header(tensors=1) + info("t", (8,), kind=77) + bytes(64), "unknown type 77"),
        (header(tensors=1) + info("t", (33,), kind=8) + bytes(64), "no whole number of q8_0"),
        (header(tensors=1) + info("t", (8,), offset=4) + bytes(64), "no multiple of 32"),
        (header(tensors=1) + info("t", (8,), offset=64) + bytes(64), "ends at byte"),
        (header(tensors=2) + info("t", (9,)) + info("u", (8,), offset=32) + bytes(99), "overlaps"),
        (header(tensors=2) + info("t", (8,)) + info("t", (8,), offset=32) + bytes(99), "occurs twice"),
    ],
)
def test_damage_is_named(tmp_path: Path, data: bytes, about: str) -> None:
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(CorruptModel, match=about):
        gguf.read(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (header(version=1), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (header(tensors=1) + info("t", (256,), kind=10) + bytes(999), "Q2_K; supported: F32"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, data: bytes, about: str) -> None:
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(UnsupportedModel, match=about):
        gguf.read(tmp_path / "a.gguf")


def test_version_2_and_another_alignment(tmp_path: Path) -> None:
    head = header(version=2, tensors=2, keys=1) + ALIGN + struct.pack("<II", 4, 64)
    head += info("t", (2,)) + info("u", (2,), offset=64)
    data = head + bytes(-len(head) % 64) + struct.pack("<2f", 1, 2) + bytes(56) + struct.pack("<2f", 3, 4)
    (tmp_path / "a.gguf").write_bytes(data)
    file = gguf.read(tmp_path / "a.gguf")
    assert file.version == 2
    assert [tensor.array.tolist() for tensor in file.tensors.values()] == [[1, 2], [3, 4]]


def test_no_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        gguf.read(tmp_path / "none.gguf")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="planned"):
        gguf_write.write(tmp_path / "a.gguf", METADATA, {"t": Planned("F32", (3,), lambda: weights(4))})
    assert list(tmp_path.iterdir()) == []

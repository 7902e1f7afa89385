"""Weights packed once: a second load maps them and computes the same; what is damaged, old or foreign is made anew."""

from __future__ import annotations

import hmac
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from ownlm import hub, native
from ownlm.engine import loading
from ownlm.engine.loaded import Loaded
from ownlm.errors import CorruptModel
from ownlm.hub.packed import all_packed
from ownlm.model import checkpoint, packed, packed_file
from ownlm.model.gguf.export import export
from tiny_llm import write_tiny_llm

IDS = np.arange(3, 20, dtype=np.int32)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 0)
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llm(tmp_path_factory.mktemp("models") / "tiny-llm")


@pytest.fixture(params=["folder", "q8_0", "q4_0"])
def model(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    """A model that nobody else has: a folder, or a GGUF file, whose q and k are stored in another order."""
    if request.param == "folder":
        return Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    export(folder, tmp_path / "tiny.gguf", request.param)
    return tmp_path / "tiny.gguf"


def _load(model: Path, pack: bool = True) -> Loaded:
    return loading.load(model, context=None, cache_tokens=None, ops="native", packed=pack, on_progress=None)


def _secret() -> bytes:
    found = packed._secret()
    assert found is not None
    return found


def _packed(model: Path) -> Path:
    """The one file of packed weights that the model has, after a load that writes it."""
    loaded = _load(model)
    assert loaded.writing is not None and loaded.writing.finish()
    (found,) = all_packed(model)
    return found


def _made_again(model: Path) -> bool:
    """Whether a load packs the weights, and leaves one good file."""
    loaded = _load(model)
    if loaded.writing is None:
        return False
    assert loaded.writing.finish()
    (found,) = all_packed(model)
    return packed_file.verify(found, _secret()) > 0


def test_a_second_load_maps_what_the_first_one_packed(model: Path) -> None:
    fresh = _load(model, pack=False)
    assert fresh.writing is None and all_packed(model) == []
    logits = fresh.runner.read(IDS)
    first = _load(model)
    np.testing.assert_array_equal(first.runner.read(IDS), logits)
    assert first.writing is not None and first.writing.finish()
    (path,) = all_packed(model)
    assert path.parent == (model if model.is_dir() else model.parent)
    assert packed_file.verify(path, _secret()) > 4
    second = _load(model)
    assert second.writing is None
    np.testing.assert_array_equal(second.runner.read(IDS), logits)
    assert second.fingerprint() == fresh.fingerprint()


def test_a_mapped_load_reads_no_weights_of_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _packed(model)

    def refuse(*_: object) -> None:
        raise AssertionError("weights were packed")

    monkeypatch.setattr(native, "pack", refuse)
    monkeypatch.setattr(native, "pack_glu", refuse)
    _load(model)
    path.unlink()
    with pytest.raises(AssertionError, match="were packed"):
        _load(model)


@pytest.mark.parametrize(
    "damage", ["cut", "longer", "empty", "magic", "header", "layout", "bounds", "files", "absent", "types"]
)
def test_a_file_that_is_not_whole_is_made_again(damage: str, folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    path = _packed(model)
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    header = json.loads(whole[48 : 48 + length])
    if damage == "layout":
        header["layout"] += 1
    elif damage == "bounds":
        header["entries"]["head"][0]["data"][0] = 1 << 40
    elif damage == "files":
        header["about"]["files"][0][1] += 1
    elif damage == "types":
        header["entries"]["head"][0]["weight"][1] = "many"
    elif damage == "absent":
        del header["entries"]["2"]
    changed = {
        "cut": whole[:-1], "longer": whole + b"x", "empty": b"", "magic": b"?" + whole[1:],
        "header": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
    }.get(damage)  # fmt: skip
    path.write_bytes(_with_header(whole, header) if changed is None else changed)
    assert _made_again(model)
    assert not _made_again(model)


def _with_header(whole: bytes, header: object) -> bytes:
    """The file with another header, whose checksum is right: what only a person makes."""
    head = json.dumps(header, separators=(",", ":")).encode()
    begin = json.loads(whole[48 : 48 + int.from_bytes(whole[8:16], "little")])["begin"]
    first = packed_file.MAGIC + len(head).to_bytes(8, "little") + hmac.digest(_secret(), head, "sha256") + head
    return first.ljust(begin, b"\0") + whole[begin:]


def test_a_flipped_bit_of_weights_is_found_by_verifying(folder: Path, tmp_path: Path) -> None:
    path = _packed(Path(shutil.copytree(folder, tmp_path / "tiny-llm")))
    whole = bytearray(path.read_bytes())
    whole[-packed_file.PAGE] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CorruptModel, match="damaged at byte"):
        packed_file.verify(path, _secret())


def test_weights_that_changed_are_packed_again_and_the_old_file_goes(folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    path = _packed(model)
    os.utime(model / "model.safetensors", ns=(1, 1))
    assert _made_again(model)
    assert not path.exists()


def test_a_file_from_elsewhere_is_not_believed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that somebody packed of other weights and sent along with a model, its times kept."""
    model = Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "theirs"))
    path = _packed(model)
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "ours"))
    assert path.exists() and _made_again(model)
    assert not _made_again(model)


def test_removing_a_model_removes_what_was_packed_of_it(folder: Path, tmp_path: Path) -> None:
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    export(folder, models / "tiny.gguf", "q8_0")
    path = _packed(models / "tiny.gguf")
    other = _packed(Path(shutil.copytree(folder, models / "other")))
    assert hub.remove("tiny.gguf") > path.parent.stat().st_nlink
    assert not path.exists() and other.exists()
    hub.remove("other")
    assert list(models.iterdir()) == []


def test_a_place_that_cannot_be_written_sends_the_file_home(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    write = packed_file.write

    def closed(path: Path, *rest: object, **named: object) -> bool:
        if path.parent == model:
            raise PermissionError(13, "Permission denied")
        return write(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(packed_file, "write", closed)
    path = _packed(model)
    assert path.parent == tmp_path / "home" / "packed"
    assert not list(model.glob("*.packed")) and not list(model.glob(".*.tmp"))
    assert _load(model).writing is None


def test_a_full_disk_leaves_nothing_and_the_load_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "tiny-llm"))
    logits = _load(model, pack=False).runner.read(IDS)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_file.os, "write", full)
    loaded = _load(model)
    assert loaded.writing is not None and loaded.writing.finish()
    np.testing.assert_array_equal(loaded.runner.read(IDS), logits)
    assert all_packed(model) == [] and not list(model.glob(".*.tmp"))
    monkeypatch.setattr(packed, "_ROOM", 1 << 60)  # no disk has so much: nothing is tried
    files = checkpoint.load(model, verify=False)
    assert packed.write(model, files, {"a": np.zeros(4, np.float32)}) is None


def test_writing_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    target = tmp_path / "model-0.packed"
    assert not packed_file.write(target, {}, {"a": np.ones(packed_file.PIECE, np.uint8)}, b"s", stop=stop)
    assert list(tmp_path.glob("*packed*")) == []


def test_arrays_come_back_as_they_were_whatever_their_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = (1, 4096, packed_file.PIECE - packed_file.PAGE, packed_file.PIECE, 3 * packed_file.PIECE + 5, 0, 77)
    entries: dict[str, packed_file.Entry] = {f"{size}": rng.integers(0, 256, size).astype(np.uint8) for size in sizes}
    entries["floats"] = rng.normal(size=(3, 5)).astype(np.float32)
    path = tmp_path / "a.packed"
    assert packed_file.write(path, {"told": "so"}, entries, b"s")
    found = packed_file.read(path, b"s")
    assert found.about == {"told": "so"} and packed_file.verify(path, b"s") == len(entries)
    for name, entry in entries.items():
        np.testing.assert_array_equal(found.entries[name], entry)
    dead = path.parent / f".{path.name}.x.tmp"
    dead.write_bytes(b"of a writer that was killed")
    os.utime(dead, (1, 1))
    assert packed_file.write(path, {}, entries, b"s") and not dead.exists()

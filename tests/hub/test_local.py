"""Models by name or folder, and their recorded bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ownlm import hub
from ownlm.errors import CorruptModel, NotFound


def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    lines = []
    for name in ("config.json", "sub/other"):
        (tmp_path / name).write_text(name)
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (tmp_path / hub.SUMS).write_text("".join(lines))
    return tmp_path


def test_none_and_its_name_are_the_model_that_ships() -> None:
    assert hub.resolve() == hub.resolve("all-MiniLM-L6-v2-q8_0")
    assert (hub.resolve() / "config.json").is_file()


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert hub.resolve(folder(tmp_path)) == tmp_path
    assert hub.resolve(str(tmp_path)) == tmp_path


def test_what_is_not_there_lists_what_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no model 'gpt'.*all-MiniLM-L6-v2-q8_0"):
        hub.resolve("gpt")
    with pytest.raises(NotFound, match=r"no config\.json"):
        hub.resolve(tmp_path)


def test_the_model_that_ships_is_as_recorded() -> None:
    assert "model.safetensors" in hub.verify(hub.resolve())
    recorded = {line.split("  ")[1] for line in (hub.resolve() / hub.SUMS).read_text().splitlines()}
    there = {path.relative_to(hub.resolve()).as_posix() for path in hub.resolve().rglob("*") if path.is_file()}
    assert there == recorded | {hub.SUMS}


def test_verify_names_the_file_that_differs(tmp_path: Path) -> None:
    assert hub.verify(folder(tmp_path)) == ["config.json", "sub/other"]
    (tmp_path / "sub/other").write_text("sub/othes")
    with pytest.raises(CorruptModel, match="other is not the file"):
        hub.verify(tmp_path)
    assert hub.verify(tmp_path, leave_out=["sub/other"]) == ["config.json"]
    (tmp_path / "sub/other").unlink()
    with pytest.raises(CorruptModel, match="other is missing"):
        hub.verify(tmp_path)


@pytest.mark.parametrize("text", ["", "abc  config.json\n", "0" * 64 + "  ../x\n", "0" * 64 + "  /etc/passwd\n", "\n"])
def test_a_damaged_record_is_corrupt(tmp_path: Path, text: str) -> None:
    (folder(tmp_path) / hub.SUMS).write_text(text)
    with pytest.raises(CorruptModel, match=hub.SUMS):
        hub.verify(tmp_path)


def test_no_record_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing to verify"):
        hub.verify(tmp_path)

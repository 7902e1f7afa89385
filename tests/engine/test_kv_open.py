"""A store is asked for, and is there or is not; what stands in its way is told, and stops nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llm_fakes import NoiseRunner, answer_llm, tokenizer
from ownlm.cli.options import store_bytes
from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.errors import InvalidSetting
from tiny_llm import write_tiny_llm

PROMPT = list(range(5, 200))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llm(tmp_path_factory.mktemp("tiny"), max_position_embeddings=1024)


def said(folder: Path, **settings: Any) -> tuple[list[int], int, tuple[str, ...]]:
    with LLM(folder, context=512, **settings) as llm:
        found = llm.generate(PROMPT, max_tokens=8, temperature=0, ignore_eos=True)
        return found.token_ids, found.reuse.from_disk, llm.notes


def test_python_keeps_nothing_unless_it_is_asked_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))
    plain = said(folder)
    assert said(folder, store=False) == plain and not (tmp_path / "home" / "kv").exists()
    for where in (True, tmp_path / "elsewhere", str(tmp_path / "a text")):
        assert said(folder, store=where) == plain
        again = said(folder, store=where)
        assert again == (plain[0], 192, ())
    assert (tmp_path / "home" / "kv").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "home" / "kv").rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0 or path.name == "purged"


@pytest.mark.parametrize("format", ["bf16", "f32", "int8", "int4"])
def test_every_format_comes_back_as_it_was(folder: Path, tmp_path: Path, format: str) -> None:
    try:
        first = said(folder, store=tmp_path, kv_format=format)
    except (TypeError, InvalidSetting) as error:
        pytest.skip(str(error))
    assert said(folder, store=tmp_path, kv_format=format) == (first[0], 192, ())
    others = {"bf16", "f32"} - {format}
    assert all(said(folder, store=tmp_path, kv_format=other)[1] == 0 for other in others)


def test_other_weights_find_nothing(folder: Path, tmp_path: Path) -> None:
    said(folder, store=tmp_path)
    other = write_tiny_llm(tmp_path / "other", seed=9, max_position_embeddings=1024)
    assert said(other, store=tmp_path)[1] == 0


def test_a_folder_that_cannot_be_written_is_a_note(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    ids, from_disk, (note,) = said(folder, store=tmp_path / "file" / "kv")
    assert (ids, from_disk) == said(folder)[:2] and "not kept" in note and str(tmp_path / "file") in note


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_home_is_a_note(folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        ids, _, (note,) = said(folder, store=tmp_path / "kv")
        assert ids == said(folder)[0] and "not kept" in note
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_is_told_once_and_changes_no_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ownlm.engine.prefix_store.SPARE", 1 << 62)
    plain = said(folder)
    for _ in range(2):
        assert said(folder, store=tmp_path)[:2] == plain[:2]
    told = [record.getMessage() for record in caplog.records if "is not kept" in record.getMessage()]
    assert len(told) == 2 and "no room" in told[0]  # once a process: these are two


def test_a_model_without_a_name_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with LLM.of(_loaded(tmp_path / "m"), store=tmp_path / "kv") as unnamed:
        assert unnamed.engine.store is None and any("nothing names" in note for note in unnamed.notes)


def _loaded(folder: Path) -> Any:
    tokens = tokenizer(folder)
    return Loaded(name="noise", runner=NoiseRunner(tokens.vocab_size + 3), tokenizer=tokens)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "4GB", True])
def test_a_limit_that_is_none_is_refused(folder: Path, tmp_path: Path, limit: Any) -> None:
    with pytest.raises(InvalidSetting, match="store_limit"):
        LLM(folder, store=tmp_path, store_limit=limit)


def test_the_option_is_in_gigabytes() -> None:
    assert (store_bytes(None), store_bytes(4), store_bytes(0.5)) == (None, 4_000_000_000, 500_000_000)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidSetting, match="--kv-store-limit"):
            store_bytes(wrong)


def test_a_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    said = [{"role": "user", "content": "The first words of a long story are these: " + "and then " * 40}]
    answers = []
    for turn in range(3):
        with answer_llm(tmp_path / "m", lambda text: f"It has {len(text)} characters.", store=tmp_path / "kv") as llm:
            found = llm.chat(said, temperature=0)
            answers.append((found.text, found.reuse.from_disk > 0))
            said += [{"role": "assistant", "content": found.text}, {"role": "user", "content": f"Go on, {turn}."}]
    assert [restored for _, restored in answers] == [False, True, True]
    assert len({text for text, _ in answers}) == 3

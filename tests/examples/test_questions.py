"""The example that ships: the handbook's papers and the questions about them."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ownlm.rag.readers import ReaderPool

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HANDBOOK = EXAMPLES / "handbook"
KINDS = {"fact", "number", "date", "person", "place", "procedure", "reason", "table", "list", "conflict", "multi"}


def script(name: str) -> ModuleType:
    """A script of the examples folder as a module."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_all(folder: Path) -> dict[str, str]:
    """The extracted text of every file below ``folder``, by its name relative to it."""
    with ReaderPool() as pool:
        return {
            path.relative_to(folder).as_posix(): pool.extract(path).extracted.text
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return read_all(HANDBOOK)


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    lines = (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def words(text: str) -> int:
    """Words of prose and cells: a header that is repeated in every row of a table counts once."""
    rows = [line for line in text.splitlines() if ": " in line and " | " in line]
    repeated = Counter(label for row in rows for label in re.findall(r"(?:^| \| )([^|:]+):", row))
    return len(text.split()) - sum((n - 1) * len(label.split()) for label, n in repeated.items())


def test_the_handbook_has_the_size_and_formats_it_promises(texts: dict[str, str]) -> None:
    assert 30 <= len(texts) <= 40
    assert len({Path(name).suffix for name in texts}) >= 6
    assert sum(words(text) for text in texts.values()) >= 20_000
    assert any(words(text) >= 2_500 for text in texts.values())
    assert any(words(text) <= 100 for text in texts.values())


def test_every_gold_is_the_text_at_its_offsets(texts: dict[str, str], questions: list[dict[str, Any]]) -> None:
    golds = script("locate_gold").golds
    wrong = [
        (question["id"], gold["gold"])
        for question in questions
        for gold in golds(question)
        if texts[gold["document"]][gold["start"] : gold["end"]] != gold["gold"]
    ]
    assert wrong == []


def test_a_gold_stays_within_one_line_and_is_short(questions: list[dict[str, Any]]) -> None:
    golds = script("locate_gold").golds
    for question in questions:
        for gold in golds(question):
            assert "\n" not in gold["gold"], question["id"]
            assert 1 <= len(gold["gold"].split()) <= 16, question["id"]


def test_counts_halves_and_ids(questions: list[dict[str, Any]]) -> None:
    counts = Counter((question["answerable"], question["split"]) for question in questions)
    assert counts == {(True, "tuning"): 75, (True, "test"): 75, (False, "tuning"): 30, (False, "test"): 30}
    assert len({question["id"] for question in questions}) == 210
    assert len({question["question"].lower() for question in questions}) == 210
    assert {question["kind"] for question in questions} == KINDS
    for question in questions:
        assert question["split"] == ("tuning" if int(question["id"][1:]) % 2 else "test")
        assert ("gold" in question) == question["answerable"]
        assert ("gold_all_of" in question) == (question["answerable"] and question["kind"] == "multi")


@pytest.mark.parametrize("aspect", ["kind", "difficulty", "format"])
def test_the_halves_are_balanced(questions: list[dict[str, Any]], aspect: str) -> None:
    def value(question: dict[str, Any]) -> str:
        return Path(question["document"]).suffix if aspect == "format" else question[aspect]

    halves = {
        half: Counter(value(q) for q in questions if q["answerable"] and q["split"] == half)
        for half in ("tuning", "test")
    }
    for key in halves["tuning"] | halves["test"]:
        assert abs(halves["tuning"][key] - halves["test"][key]) <= 4, key


def test_a_gold_that_is_missing_or_ambiguous_is_refused() -> None:
    locate_gold = script("locate_gold")
    text = "A fob costs £15.\nA key costs\n£45. A card costs £15."
    start, end = locate_gold.locate(text, "£15", "A card costs £15")
    assert text[start:end] == "£15" and start > text.index("card")
    assert locate_gold.locate(text, "key costs £45") == (19, 32)
    for gold, context in [("£15", ""), ("£4", ""), ("£16", ""), ("£15", "costs")]:
        with pytest.raises(locate_gold.Unlocated):
            locate_gold.locate(text, gold, context)


def test_the_binary_papers_repeat(tmp_path: Path, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("reportlab", reason="needs the development extra")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    make = script("make_handbook").make
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        make(EXAMPLES / "sources", folder)
    made = read_all(first)
    assert len(made) == len(list((EXAMPLES / "sources").rglob("*.md")))
    for name, text in made.items():
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
        assert text == texts[name], name

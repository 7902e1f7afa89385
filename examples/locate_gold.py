"""Fill ``start`` and ``end`` of every gold span in questions.jsonl from the text that our readers extract.

    python examples/locate_gold.py [--check]

A gold is the shortest span that answers; ``context`` is a stretch of the same document that contains it
and occurs once. White space counts as equal whatever its kind and length, and ``gold`` is then rewritten
as the exact text. A gold that is missing, or that could be in several places, stops the run with a list.
``--check`` writes nothing and fails if the file would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm.files import atomic_write
from ownlm.rag.readers import ReaderPool

HERE = Path(__file__).resolve().parent


class Unlocated(ValueError):
    """A gold is not in the text, or is in several places of it."""


def occurrences(text: str, wanted: str) -> list[tuple[int, int]]:
    """Where ``wanted`` stands in ``text``, white space being equal to white space; overlaps count.

    >>> occurrences("a fee of £5\\n and a\\tfee", "a  fee")
    [(0, 5), (17, 22)]
    """
    pattern = r"\s+".join(map(re.escape, wanted.split()))
    return [(found.start(1), found.end(1)) for found in re.finditer(f"(?=({pattern}))", text)]


def whole(text: str, span: tuple[int, int]) -> bool:
    """Whether the span begins and ends between words and numbers (``£4`` is not found in ``£45``)."""
    start, end = span
    inside = text[start:end]
    left = start > 0 and inside[0].isalnum() and text[start - 1].isalnum()
    right = end < len(text) and inside[-1].isalnum() and text[end].isalnum()
    return not left and not right


def locate(text: str, gold: str, context: str = "") -> tuple[int, int]:
    """The one place of ``gold`` in ``text``, inside the one place of ``context`` where that is given.

    >>> locate("lost key: £45; lost fob: £15", "£15")
    (25, 28)
    """
    outer = (0, len(text))
    if context:
        places = occurrences(text, context)
        if len(places) != 1:
            raise Unlocated(f"the context {context!r} occurs {len(places)} times")
        (outer,) = places
    spans = [(a, b) for a, b in occurrences(text, gold) if outer[0] <= a and b <= outer[1] and whole(text, (a, b))]
    if len(spans) != 1:
        raise Unlocated(f"{gold!r} occurs {len(spans)} times in {context or 'the document'!r}")
    return spans[0]


def golds(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object of a question that names a span: itself, its alternatives, its parts and theirs."""
    if question["answerable"]:
        yield question
        yield from question.get("gold_all", [])
        for part in question.get("gold_all_of", []):
            yield part
            yield from part.get("gold_all", [])


def texts(names: set[str], handbook: Path) -> dict[str, str]:
    """The extracted text of each document named."""
    with ReaderPool() as pool:
        return {name: pool.extract(handbook / name).extracted.text for name in sorted(names)}


def fill(questions: list[dict[str, Any]], handbook: Path) -> list[str]:
    """Locate every gold in place; the problems found, one line each."""
    extracted = texts({gold["document"] for question in questions for gold in golds(question)}, handbook)
    problems = []
    for question in questions:
        for gold in golds(question):
            text = extracted[gold["document"]]
            try:
                start, end = locate(text, gold["gold"], gold.get("context", ""))
            except Unlocated as error:
                problems.append(f"{question['id']} {gold['document']}: {error}")
                continue
            gold.update(gold=text[start:end], start=start, end=end)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Fill the offsets of the gold spans in questions.jsonl.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file would change")
    check: bool = parser.parse_args().check
    path = HERE / "questions.jsonl"
    before = path.read_text(encoding="utf-8")
    questions = [json.loads(line) for line in before.splitlines()]
    problems = fill(questions, HERE / "handbook")
    if problems:
        sys.stderr.write("\n".join([*problems, f"{len(problems)} golds could not be located", ""]))
        return 1
    after = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    if check and after != before:
        sys.stderr.write("questions.jsonl is not what locate_gold.py would write: run it\n")
        return 1
    if not check:
        with atomic_write(path) as file:
            file.write(after.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

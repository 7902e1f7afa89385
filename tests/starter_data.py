"""A folder laid out as the data that the starter is made from: made-up rows, some of which must not be trained on."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from ownlm.evals.held_out import held_out

PLACES = ("Alder", "Birch", "Cedar", "Elder", "Hazel", "Linden", "Maple", "Rowan")
MEASURED = "every autumn the keeper of the old lighthouse counts seventeen white boats before the tide turns again"
"""A run of words that stands in a development set and, as contraband, in rows of every training set."""


def paragraph(place: str, number: int) -> tuple[str, list[tuple[str, str]]]:
    """A paragraph about a place that is nowhere, with questions that it answers."""
    year, people = 1700 + number * 7, 900 + number * 31
    text = (
        f"The village of {place} lies on a hill above the river. It was founded in {year} by the miller Old Tom of "
        f"{place}, who built a bridge there. Today {people} people live in it, and most of them keep bees."
    )
    questions = [
        (f"When was {place} founded?", str(year)),
        (f"How many people live in {place}?", str(people)),
        (f"What do most people of {place} keep?", "bees"),
    ]
    return text, questions


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path = folder / f"{name}.jsonl.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def make(folder: Path) -> Path:
    """Write the sets; each training set has a row with ``MEASURED`` in it."""
    squad, wiki, fairy, reviews = [], [], [], []
    for number, place in enumerate(PLACES * 6):
        text, questions = paragraph(f"{place}ton {number}", number)
        for question, answer in questions:
            squad.append({"title": f"{place}ton", "context": text, "question": question, "answers": [answer]})
        wiki.append({"title": f"{place} {number}", "text": f"{text}\n\n## History\n\n{text[::-1]}", "source": ""})
        fairy.append({"story": f"the-{place}", "context": text, "question": questions[2][0], "answers": ["some bees"]})
    squad.append({"title": "Alderton", "context": MEASURED, "question": "Who counts?", "answers": ["the keeper"]})
    wiki.append({"title": "Contraband", "text": f"{MEASURED}, and so on. " * 5, "source": ""})
    fairy.append({"story": "boats", "context": MEASURED, "question": "Who counts?", "answers": ["the keeper"]})
    for number in range(200):
        good = number % 2 == 0
        text = f"film {number} is {'a warm and lovely' if good else 'a dull and empty'} thing to see ."
        reviews.append({"text": text, "label": "positive" if good else "negative"})
    reviews.append({"text": f"{MEASURED} , and it is good .", "label": "positive"})
    write(folder, "grounded_qa/squad_train", sorted(squad, key=lambda row: row["title"]))
    write(folder, "grounded_qa/squad2_dev", [{"context": MEASURED, "question": "Who counts the boats?"}])
    write(folder, "grounded_qa/fairytaleqa_train", fairy)
    write(folder, "pretrain/wikipedia_en_2015_part", wiki)
    write(folder, "sentiment/sentence_polarity_train", reviews)
    write(
        folder, "sentiment/movie_reviews_train", [{**row, "text": "Long: " + row["text"] * 20} for row in reviews[:50]]
    )
    write(folder, "sentiment/pros_cons", [{**row, "text": f"bought: {row['text']}"} for row in reviews[:50]])
    for language in ("es", "fr"):
        write(folder, f"translation/python_docs_en_{language}", pairs(language))
    write(folder, "code/mbpp", [program(task) for task in (3, 5, 610, 611, 612, 613, 614, 615)])
    write(
        folder, "pretrain/thealgorithms_python", [{"path": "a.py", "text": program(n)["code"] * 3} for n in range(40)]
    )
    return folder


def pairs(language: str) -> list[dict[str, str]]:
    """Of files that measure, and of files that do not; one English sentence stands in both."""
    found = [
        {"path": f"library/{number}.po", "en": f"Return the value of number {number}.", "tgt": f"{language} {number}"}
        for number in range(60)
    ]
    (measured, *_) = (row for row in found if held_out(row["path"]))
    (free, *_) = (row for row in found if not held_out(row["path"]))
    return [*found, {"path": free["path"], "en": measured["en"], "tgt": "told"}]


def program(task: int) -> dict[str, Any]:
    lines = [f"def f{task}(items):", f"\ttotal = {task}", "\tfor item in items:", f"\t\ttotal = total + item * {task}"]
    lines += ["\tif total > 100:", "\t\treturn total", f"\treturn total - {task}"]
    return {"task_id": task, "text": f"Write a function to add items {task} times.", "code": "\r\n".join(lines)}

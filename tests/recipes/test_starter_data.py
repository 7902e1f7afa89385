"""What the starter learns from: nothing that measures, in the words that it will be asked in, the same each time."""

from __future__ import annotations

import doctest
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import starter_data
from ownlm.evals.held_out import held_out
from ownlm.prompts import grounded

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module", autouse=True)
def on_path() -> Any:
    sys.path.insert(0, str(RECIPES))
    yield
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import starter_corpus
    import starter_tuning

    out = tmp_path_factory.mktemp("made")
    starter_corpus.gather(data, out, "small")
    starter_tuning.gather(data, out)
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def conversations(made: Path) -> list[list[dict[str, str]]]:
    found = [row["messages"] for name in ("train", "valid") for row in lines(made / "tuning" / f"{name}.jsonl")]
    assert len(found) > 300
    return found


def everything(made: Path) -> str:
    """All that is trained on, but the standard library's sources."""
    texts = [row["text"] for path in made.glob("text/*.jsonl") if "library" not in path.name for row in lines(path)]
    texts += [message["content"] for messages in conversations(made) for message in messages]
    return "\n".join(texts)


def test_nothing_that_measures_is_trained_on(data: Path, made: Path) -> None:
    seen = everything(made)
    assert starter_data.MEASURED[:60] not in seen
    reviews = [f"film {n} is {'a warm and lovely' if n % 2 == 0 else 'a dull and empty'} thing" for n in range(200)]
    measured = [text for text in reviews if held_out(text + " to see .")]
    assert measured
    assert not any(f"\n{text}" in f"\n{seen}" for text in measured)
    assert any(text in seen for text in reviews)
    numbers = [n for n in range(60) if held_out(f"library/{n}.po")]
    assert numbers
    assert not any(f"Return the value of number {n}." in seen for n in numbers)
    assert "f610(items)" in seen
    assert not re.search(r"f[35]\(items\):\n    total", seen)


def test_what_was_left_out_is_counted(made: Path) -> None:
    table = {row["name"]: row for path in made.glob("text/*.json") for row in [json.loads(path.read_text())]}
    for name in ("wikipedia", "squad-reading", "fairytales", "reviews"):
        assert table[name]["shares_words_with_a_development_set"] > 0, name
        assert table[name]["documents"] > 0, name
        assert table[name]["licence"], name
    tasks = {row["name"]: row for row in json.loads((made / "tuning/tasks.json").read_text())}
    assert tasks["squad"]["shares_words"] > 0
    assert tasks["squad"]["rows"] > 0


def test_answers_are_quoted_from_the_passage_that_they_name(made: Path) -> None:
    answered = refused = 0
    for messages in conversations(made):
        if not messages[0]["content"].startswith("[1] "):
            continue
        passages = dict(re.findall(r"^\[(\d)\] (.*)$", messages[0]["content"], re.M))
        for question, answer in zip(messages[::2], messages[1::2], strict=True):
            if answer["content"] == grounded.NOTHING:
                refused += 1
                continue
            quote = re.fullmatch(r"“(.+)” \[(\d)\]\. \[\2\]", answer["content"])
            if quote:
                assert quote.group(1) in passages[quote.group(2)], question
                answered += 1
    assert answered > 20
    assert 0.2 < refused / (answered + refused) < 0.6


def test_a_question_that_is_refused_has_no_answer_there(data: Path) -> None:
    import random

    import starter_grounded

    chance = random.Random(3)
    paragraphs = list(starter_grounded.squad(chance, data))
    answers = {question.text: question.answer for paragraph in paragraphs for question in paragraph.questions}
    refused = 0
    for row in starter_grounded.conversations(chance, paragraphs):
        for question, answer in zip(row.messages[::2], row.messages[1::2], strict=True):
            asked = question["content"].rpartition("Question: ")[2]
            if answer["content"] == grounded.NOTHING and asked in answers:
                passage = row.messages[0]["content"].rpartition("\n\nQuestion: ")[0]
                assert str(answers[asked]) not in re.sub(r"^\[\d\] [^:]*: ", "", passage), asked
                refused += 1
    assert refused > 5


def test_every_task_has_its_words(made: Path) -> None:
    asked = [messages[0]["content"] for messages in conversations(made)]
    for words in ("Positive or negative?", "Translate to Spanish.", "Translate to French."):
        assert any(text.endswith(words) for text in asked), words
    assert any(text.startswith("Complete the line of Python.") for text in asked)
    assert any(messages[-1]["content"].startswith("I am the starter model") for messages in conversations(made))


def test_a_second_time_gives_the_same_bytes(data: Path, made: Path, tmp_path: Path) -> None:
    import starter_corpus
    import starter_tuning

    starter_corpus.gather(data, tmp_path, "small")
    starter_tuning.gather(data, tmp_path)
    names = [path.relative_to(made) for path in sorted(made.rglob("*.json*"))]
    assert len(names) > 10
    assert all((made / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_sets_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import starter_corpus

    table = starter_corpus.gather(tmp_path / "nothing", tmp_path / "out", "small")
    assert [row["name"] for row in table] == ["standard-library"]
    assert "wikipedia: pretrain/wikipedia_en_2015_part is not in" in capsys.readouterr().err


@pytest.mark.skipif("OWNLM_DATA" not in os.environ, reason="needs the public sets: OWNLM_DATA")
def test_what_measures_is_found_in_the_real_sets() -> None:
    import starter_clean

    data = Path(os.environ["OWNLM_DATA"])
    development = starter_clean.Development.of(data)
    contexts = {row["context"] for row in starter_clean.rows(data, "grounded_qa/squad2_dev")}
    reviews = [row["text"] for row in starter_clean.rows(data, "sentiment/sentence_polarity_train")]
    long = [text for text in reviews if held_out(text) and len(text.split()) > 25]
    assert all(map(development.shares, contexts))
    assert all(map(development.shares, long))
    free = [text for text in reviews if not held_out(text)]
    assert sum(map(development.shares, free)) < len(free) / 100


@pytest.mark.parametrize("name", ["starter_clean", "starter_grounded", "starter_tasks"])
def test_the_examples_hold(name: str) -> None:
    module: ModuleType = __import__(name)
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0

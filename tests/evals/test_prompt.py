"""Choosing a prompt: the best wording is found, with a figure of samples that the choice did not see, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_fakes import answer_llm
from ownlm.engine.embedder import Embedder
from ownlm.errors import InvalidSetting
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.paired import difference
from ownlm.evals.prompt import Choice, as_shot, choose
from ownlm.evals.task import Sample, Task
from ownlm.prompts import Prompt, grounded, load, sentiment, summarize
from ownlm.prompts.grounded import NOTHING, Grounded, Source
from ownlm.prompts.kept import Kept, keep
from ownlm.prompts.sentiment import Sentiment

ACCURACY = Metric("accuracy", mean)
WORDS = ("red", "green", "blue", "wide", "tall", "small")
CLEAR = Prompt("sentiment", "clear", Sentiment, "{text} CLEAR")


def samples(folder: Path) -> Iterator[Sample]:
    """48, of which every second is positive; two of each stand in one document."""
    for number in range(48):
        label = sentiment.LABELS[number % 2]
        said = f"Number {number} is {'fine' if label == 'positive' else 'broken'} and {WORDS[number % 6]}."
        yield Sample(str(number), Sentiment(said), (label,), cluster=f"document {number // 2}")


TASK = Task(
    name="toy",
    about="toy",
    samples=samples,
    metrics=(ACCURACY,),
    template="sentiment",
    score=lambda sample, answer: {"accuracy": (float(answer == sample.references[0]), 1.0)},
    max_tokens=12,
)


def reads_if(sign: Callable[[str], bool]) -> Callable[[str], str]:
    """Labels rightly where the conversation shows the sign, else says "positive"."""

    def answer(asked: str) -> str:
        question = asked[asked.rindex("Number") :]
        return "negative" if sign(asked) and "broken" in question else "positive"

    return answer


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))


def chosen(tmp_path: Path, answer: Callable[[str], str], prompts: list[Prompt[Any]], **settings: Any) -> Choice:
    with answer_llm(tmp_path, answer) as llm:
        return choose(TASK, llm, tmp_path, prompts, **settings)


def test_the_wording_that_works_is_found(tmp_path: Path) -> None:
    found = chosen(tmp_path, reads_if(lambda asked: "CLEAR" in asked), [*sentiment.OTHERS, CLEAR])
    assert found.best is CLEAR and found.figure.value == 100 and 35 < (found.before.value or 0) < 65
    assert found.gain.value == round(100 - (found.before.value or 0), 4) and (found.gain.low or 0) > 0
    assert [each.prompt.version for each in found.candidates] == [
        "sentiment-1", "sentiment-first-1", "sentiment-rules-1", "clear",
    ]  # fmt: skip
    assert found.chosen_on + found.checked_on == 48 and found.figure.samples == found.checked_on
    assert found.json()["prompt"] == "clear" and found.json()["before"]["value"] == found.before.value


def test_both_samples_of_a_document_are_in_one_part(tmp_path: Path) -> None:
    asked: list[str] = []
    found = chosen(tmp_path, lambda text: asked.append(text) or "positive", [CLEAR])
    numbers = {int(text[text.rindex("Number") :].split()[1]) for text in asked if "CLEAR" in text}
    assert len(numbers) == found.chosen_on and {number ^ 1 for number in numbers} == numbers


def test_what_only_seemed_better_is_not_taken(tmp_path: Path) -> None:
    """A prompt that shines where the choice is made and fails elsewhere: the one in use stays."""
    seen: dict[str, int] = {}

    def answer(asked: str) -> str:
        question = asked[asked.rindex("Number") :].split("CLEAR")[0]
        right = "negative" if "broken" in question else "positive"
        if "CLEAR" not in asked:
            return "positive"
        return right if seen.setdefault(question, len(seen)) < limit else "neither"

    limit = 48
    limit = chosen(tmp_path, answer, [CLEAR]).chosen_on
    seen.clear()
    found = chosen(tmp_path, answer, [CLEAR])
    assert [each.figure.value == 100 for each in found.candidates] == [False, True]
    assert found.best is sentiment.PROMPT and found.figure == found.before and found.gain.value == 0


def test_examples_that_help_are_found_and_never_are_the_question(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return reads_if(lambda text: text.count("Number") > 2)(text)

    found = chosen(tmp_path, answer, [], shots=2, embedder=Embedder.load())
    assert [each.prompt.version for each in found.candidates] == [
        "sentiment-1", "sentiment-1+2-fixed", "sentiment-1+2-nearest",
    ]  # fmt: skip
    assert found.best.version == "sentiment-1+2-fixed" and found.figure.value == 100
    assert {shot.answer for shot in found.best.shots} == set(sentiment.LABELS)
    for text in asked:
        shown = [part.split(" is ")[0] for part in text.split("Number ")[1:]]
        assert len(set(shown)) == len(shown)


def test_what_is_kept_is_what_the_model_is_asked_with(tmp_path: Path) -> None:
    with answer_llm(tmp_path, reads_if(lambda asked: "CLEAR" in asked)) as llm:
        found = choose(TASK, llm, tmp_path, [CLEAR])
        keep(tmp_path / "home" / "prompts" / "sentiment.json", llm.fingerprint, Kept(found.best, llm.name, {}))
        assert load("sentiment", llm) == CLEAR
        again = choose(TASK, llm, tmp_path, [sentiment.PROMPT, CLEAR])
    assert [each.prompt.version for each in again.candidates] == ["clear", "sentiment-1"]
    assert again.best == CLEAR and again.gain.value == 0 and again.before.value == 100


@pytest.mark.parametrize(
    ("prompts", "settings", "complaint"),
    [
        ([summarize.PROMPT], {}, "asks through sentiment"),
        ([], {"limit": 10}, "of at least 8: give more"),
        ([], {"shots": -1}, "--shots"),
        ([], {"shots": 40}, "give fewer"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, prompts: list[Prompt[Any]], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidSetting, match=complaint):
        chosen(tmp_path, lambda asked: "positive", prompts, **settings)


def test_examples_of_grounded_tasks_cite() -> None:
    asked = Grounded("When?", (Source("", "It is free."), Source("", "Opens at nine.")))
    task = replace(TASK, template="grounded")
    shot = as_shot(task, Sample("1", asked, ("at nine",)))
    assert shot is not None and shot.answer == "at nine. [2]"
    nothing = as_shot(task, Sample("2", asked))
    assert nothing is not None and nothing.answer == NOTHING
    assert as_shot(TASK, Sample("3", Sentiment("x"))) is None
    assert grounded.SHORT.messages(asked, [shot])[1] == {"role": "assistant", "content": "at nine. [2]"}


def test_the_difference_is_of_pairs() -> None:
    """What is hard for both cancels: the interval is far narrower than those of the two figures."""
    before = [{"accuracy": (float(at % 2), 1.0)} for at in range(200)]
    after = [{"accuracy": (float(at % 2 or at % 20 == 0), 1.0)} for at in range(200)]
    found = difference(ACCURACY, after, before, [str(at) for at in range(200)])
    assert found.value == 5 and 1.5 < (found.low or 0) < 3 and 7 < (found.high or 0) < 8.5
    assert difference(ACCURACY, after, before, [str(at) for at in range(200)]) == found
    assert difference(ACCURACY, [{}], before[:1], ["a"]).value is None

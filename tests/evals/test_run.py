"""Measuring with models: fakes that say what a test wants, and a tiny real one."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import public_sets as sets
import pytest

import llm_fakes
import tiny_llm
from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.evals import catalog, results, run
from ownlm.evals.squad2 import FREE, SQUAD2, earns_ask
from ownlm.evals.task import Task
from ownlm.model import checkpoint
from ownlm.model.agreement import log_softmax
from ownlm.model.opened import open_to_read
from ownlm.prompts.grounded import NOTHING, SHORT, quoted

TEXT = " \n = Homarus = \n \n The lobster lives in the sea . It is blue . \n" * 3


@pytest.fixture
def folder(put: Any) -> Path:
    for name, rows in sets.ROWS.items():
        found = put(name, rows)
    return Path(found)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.write_tiny_llm(tmp_path_factory.mktemp("model"))


def short(name: str) -> Task:
    """A task in the short words: the fakes' contexts are small."""
    task = catalog.load_task(name)
    assert isinstance(task, Task)
    return dataclasses.replace(task, prompt=SHORT) if task.template == "grounded" else task


def echo(folder: Path, says: str) -> LLM:
    """A model that always says the same; one at a time, because the fake counts from the blocks that requests share."""
    whole, runner = llm_fakes.echo_llm(folder, says)
    whole.close()
    loaded = Loaded(name="echo", runner=runner, tokenizer=whole.tokenizer, chat_template=whole.chat_template)
    return LLM.of(loaded, max_running=1)


@pytest.mark.parametrize(
    ("says", "figures"),
    [
        (NOTHING, {"F1": 50, "HasAns F1": 0, "NoAns F1": 100, "answered": 0}),
        (quoted("1973", 1), {"F1": 25, "EM": 25, "HasAns EM": 50, "NoAns F1": 0, "answered": 100}),
    ],
)
def test_a_model_is_asked_and_judged(says: str, figures: dict[str, float], folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    answers: list[str] = []
    with echo(tmp_path, says) as llm:
        found = run.run(
            short("squad2_free"), llm, folder, on_progress=lambda *at: seen.append(at),
            on_answer=lambda sample, answer, score: answers.append(answer),
        )  # fmt: skip
    assert {name: found.metrics[name].value for name in figures} == figures
    assert answers == [says] * 4 and seen == [(done, 4) for done in range(5)]
    assert found.prompt == SHORT.version and (found.samples, found.available, found.cut, found.too_long) == (4, 4, 0, 0)
    assert found.baseline is not None and found.baseline["metrics"]["F1"].value == 50


def test_an_answer_is_held_to_its_passage(folder: Path, tmp_path: Path) -> None:
    """A model that wants to say the same of everything can quote it only where it stands."""
    answers: list[str] = []
    with echo(tmp_path, quoted("1973", 1)) as llm:
        run.run(short("squad2"), llm, folder, on_answer=lambda sample, answer, score: answers.append(answer))
    assert answers[:2] == [quoted("1973", 1)] * 2
    assert not any("“1973”" in answer for answer in answers[2:])


def test_labels_are_all_that_a_model_can_say(folder: Path, tmp_path: Path) -> None:
    answers: set[str] = set()
    with llm_fakes.noise_llm(tmp_path) as llm:
        found = run.run(
            catalog.load_task("sentence_polarity"), llm, folder,
            on_answer=lambda sample, answer, score: answers.add(answer),
        )  # fmt: skip
    assert answers <= {"positive", "negative"} and answers
    assert found.metrics["accuracy"].samples == 6 and found.cut == 0


def test_what_does_not_fit_counts_as_unanswered(tiny: Path, put: Any) -> None:
    row = {"id": "long", "context": "word " * 400, "question": "Why?", "answers": ["word"], "answerable": True}
    folder = put("grounded_qa/squad2_dev", [row, sets.ROWS["grounded_qa/squad2_dev"][1]])
    with LLM(tiny) as llm:
        found = run.run(dataclasses.replace(FREE, prompt=SHORT), llm, folder)
    assert (found.samples, found.too_long, found.cut) == (2, 1, 1)
    assert found.metrics["HasAns F1"].value == 0 and found.metrics["answered"].value == 50


@pytest.mark.parametrize("name", ["squad2", "translate_en_es", "wikitext2"])
def test_figures_repeat_however_the_engine_shares_its_steps(name: str, tiny: Path, folder: Path) -> None:
    task = catalog.load_task(name)
    if isinstance(task, Task):
        task = dataclasses.replace(short(name), max_tokens=12)
    found = []
    for together in (64, 1):
        with LLM(tiny, max_running=together) as llm:
            found.append(json.dumps(run.run(task, llm, folder).json()))
    assert found[0] == found[1]


def test_a_model_without_a_chat_template_continues_text(tmp_path: Path, folder: Path) -> None:
    with llm_fakes.noise_llm(tmp_path, chat=False) as llm:
        found = run.run(dataclasses.replace(short("scitldr"), max_tokens=4), llm, folder)
    assert found.samples == found.cut == 1


@pytest.mark.parametrize("window", [16, 33, 400])
def test_bits_are_those_of_the_model_itself(window: int, tiny: Path) -> None:
    found = checkpoint.load(tiny)
    tokenizer = found.load_tokenizer(tiny)
    ids = tokenizer.encode(TEXT, add_special=False, parse_special=False)
    decoder = open_to_read(tiny, found, "native")
    nats = 0.0
    for at in range(0, len(ids) - 1, window - 1):
        part = np.array(ids[at : at + window], np.int32)
        said = log_softmax(decoder.read(part[:-1]))
        nats -= float(said[np.arange(len(part) - 1), part[1:]].sum(dtype=np.float64))
    with LLM(tiny) as llm:
        got, size = run.read(llm, TEXT, window)
    assert got == pytest.approx(nats, rel=1e-5)
    assert size == len(TEXT.encode()) - len(tokenizer.decode(ids[:1]).encode())


def test_a_token_that_begins_texts_predicts_the_first(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLM(tiny) as llm:
        without, fewer = run.read(llm, "The sea is blue.", 64)
        monkeypatch.setattr(llm.tokenizer, "bos_id", llm.tokenizer.eos_id)
        nats, size = run.read(llm, "The sea is blue.", 64)
    assert size == len(b"The sea is blue.") > fewer
    assert nats > 0 and not math.isclose(nats, without)


def test_the_bar_of_ask(folder: Path, tmp_path: Path) -> None:
    with echo(tmp_path, NOTHING) as llm:
        refusing = run.run(short("squad2_free"), llm, folder)
    earned, why = earns_ask(refusing)
    assert not earned and "always refusing gives 50.0" in why
    better = {name: dataclasses.replace(refusing.metrics[name], value=value) for name, value in
              {"F1": 55.0, "HasAns F1": 35.0}.items()}  # fmt: skip
    assert earns_ask(dataclasses.replace(refusing, metrics=better))[0]
    for name, value in (("F1", 54.9), ("HasAns F1", 34.9)):
        worse = {**better, name: dataclasses.replace(better[name], value=value)}
        assert not earns_ask(dataclasses.replace(refusing, metrics=worse))[0]


def test_sections_of_one_file_are_kept_for_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "evals.json"
    results.update(path, "safety", {"bias": 1}, model="m", fingerprint="a")
    both = results.update(path, "tasks", {"x": 2}, model="m", fingerprint="a")
    assert both == results.read(path) and both["safety"] == {"bias": 1} and both["tasks"] == {"x": 2}
    other = results.update(path, "tasks", {"x": 3}, model="m", fingerprint="b")
    assert "safety" not in other and other["tasks"] == {"x": 3}
    path.write_text("not ours", encoding="utf-8")
    assert results.read(path) == {}


def test_a_gguf_file_has_its_figures_beside_it(tmp_path: Path) -> None:
    assert results.results_path(tmp_path) == tmp_path / "evals.json"
    assert results.results_path(tmp_path / "m.gguf") == tmp_path / "m.evals.json"


def test_squad2_free_is_the_same_task_unheld() -> None:
    assert FREE.grammar is None and FREE.samples is SQUAD2.samples and FREE.score is SQUAD2.score

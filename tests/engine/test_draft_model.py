"""A small model that drafts changes no answer, follows what is accepted and rejected, and keeps its own accounts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_fakes import FakeRunner, ShortMemoryRunner
from engine_harness import greedy, ids, prompts, running
from ownlm.engine.block_table import Owner
from ownlm.engine.draft_model import CATCH_UP, DraftModel
from ownlm.engine.llm import LLM
from ownlm.engine.speculate import Speculator
from ownlm.engine.step_costs import StepCosts
from ownlm.errors import InvalidSetting
from ownlm.model.batch import Batch
from speculation_cases import Case, Cheap
from tiny_llm import write_tiny_llm


class Unsteady(FakeRunner):
    """Says what the large model says, but for one time in four."""

    def step(self, batch: Batch) -> NDArray[np.float32]:
        logits = super().step(batch)
        for row, position in zip(logits, batch.positions[batch.rows].tolist(), strict=True):
            if position % 4 == 3:
                row[row.argmax()] = 0
        return logits


def audited(model: DraftModel) -> DraftModel:
    """Its accounts are looked at after each draft."""
    draft = model.draft

    def checked(wishes: Any) -> None:
        draft(wishes)
        assert model.audit() == ""

    model.draft = checked  # type: ignore[method-assign]
    return model


def drafting(runner: FakeRunner | None = None, *, lookup: bool = False) -> Speculator:
    found = audited(DraftModel(runner or Unsteady(blocks=300), 97, texts=8))
    return Speculator(Cheap(), lookup=lookup, model=found)


@pytest.mark.parametrize("seed", range(40))
def test_it_changes_no_answer(seed: int) -> None:
    case = Case(seed)
    wanted = case.answers(None)
    chance = random.Random(seed)
    runner = chance.choice([Unsteady, ShortMemoryRunner])(blocks=chance.choice([20, 60, 300]))
    assert case.answers(drafting(runner, lookup=seed % 2 == 0)) == wanted


def test_it_drafts_what_comes() -> None:
    prompt = prompts(1, seed=8, longest=60)[0] * 12
    assert len(prompt) > 2 * CATCH_UP  # read in parts
    runner = Unsteady(blocks=300)
    with running(FakeRunner(blocks=300)) as engine:
        wanted = ids(engine.submit(prompt, greedy(100)))
    with running(FakeRunner(blocks=300), speculator=drafting(runner)) as engine:
        handle = engine.submit(prompt, greedy(100))
        assert ids(handle) == wanted
        assert handle.accepted_tokens > 40 and handle.rejected_tokens > 5
        assert runner.largest == CATCH_UP
        steps = engine.stats().counters.steps
        assert ids(engine.submit(prompt, greedy(100))) == wanted
        assert engine.stats().counters.steps - steps < 60


def test_a_text_longer_than_it_can_read() -> None:
    prompt = prompts(1, seed=8)[0]
    with running(
        FakeRunner(blocks=300), speculator=drafting(Unsteady(blocks=300, max_positions=len(prompt) + 20))
    ) as it:
        handle = it.submit(prompt, greedy(80))
        assert len(ids(handle)) == 80
        assert 0 < handle.accepted_tokens <= 20


def test_one_that_fails_is_asked_no_more(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Unsteady):
        def step(self, batch: Batch) -> NDArray[np.float32]:
            if self.steps == 3:
                raise RuntimeError("no")
            return super().step(batch)

    prompt = prompts(1, seed=8)[0]
    with running(FakeRunner()) as engine:
        wanted = ids(engine.submit(prompt, greedy(40)))
    with running(FakeRunner(), speculator=drafting(Broken())) as engine:
        assert ids(engine.submit(prompt, greedy(40))) == wanted
    assert "drafts failed" in caplog.text


def test_what_a_document_left_there_is_purged() -> None:
    model = audited(DraftModel(Unsteady(blocks=300), 97, texts=8))
    prompt = prompts(1, seed=8, longest=60)[0]
    with running(FakeRunner(blocks=300), speculator=Speculator(Cheap(), lookup=False, model=model)) as engine:
        ids(engine.submit(prompt, greedy(30), owners=[Owner("handbook", 0)]))
        model.retain([])
        assert model._blocks.cached > 0
        engine.purge("handbook")
        assert model._blocks.cached == 0 and model.audit() == ""


def test_it_is_asked_only_where_it_pays() -> None:
    """One that is always wrong is left alone, and tried again ever more rarely."""

    class Wrong(FakeRunner):
        def step(self, batch: Batch) -> NDArray[np.float32]:
            return -super().step(batch)

    class Dear(StepCosts):
        def note(self, rows: int, seconds: float) -> None:
            self._one = 1e-9  # a draft costs many of the large model's steps

    for costs, runner in ((Cheap(), Wrong(blocks=300)), (Dear(), Unsteady(blocks=300))):
        found = Speculator(costs, lookup=False, model=audited(DraftModel(runner, 97, texts=8)))
        with running(FakeRunner(blocks=300), speculator=found) as engine:
            ids(engine.submit(prompts(1)[0], greedy(700)))
            assert 0 < engine.stats().counters.drafted_tokens < 200


def test_a_model_beside_another(tmp_path: Path) -> None:
    """As a user gives it: the same answers, with drafts that came; another vocabulary is refused."""
    large = write_tiny_llm(tmp_path / "large", seed=1)
    small = write_tiny_llm(tmp_path / "small", seed=1, num_hidden_layers=1)
    other = write_tiny_llm(tmp_path / "other")
    words = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(words.replace("<|im_start|>", "<|another|>"), encoding="utf-8")
    asked = [{"role": "user", "content": "What does a lost key cost?"}]
    settings = {"temperature": 0.7, "seed": 3, "max_tokens": 40, "ignore_eos": True}
    with LLM(large, speculate="off") as plain, LLM(large, speculate="off", draft=large) as drafted:
        wanted = plain.chat(asked, **settings)
        found = drafted.chat(asked, **settings)
        assert found.token_ids == wanted.token_ids and wanted.accepted_tokens == wanted.rejected_tokens == 0
        assert found.accepted_tokens + found.rejected_tokens > 0
    with LLM(large, draft=small) as both:
        assert both.chat(asked, **settings).token_ids == wanted.token_ids
    with pytest.raises(InvalidSetting, match=r"draft.*other.*token \d+ is '<\|another\|>'.*the same family"):
        LLM(large, draft=other)

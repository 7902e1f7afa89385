"""The engine's tokens are the naive loop's, however it batches, chunks, caches, preempts and forks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_fakes import VOCABULARY, FakeRunner, naive, naive_logits
from engine_harness import Gate, Script, eventually, greedy, ids, prompts, running
from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.engine import Engine
from ownlm.engine.scheduler import Scheduled
from ownlm.errors import StepFailed
from ownlm.model.batch import Batch

CASES = {
    "plain": {},
    "chunked": {"step_tokens": 3, "step_tokens_shared": 3, "max_running": 3},
    "one at a time": {"max_running": 1},
    "few blocks": {"runner": lambda: FakeRunner(blocks=24)},
    "few blocks, few rows": {"runner": lambda: FakeRunner(blocks=24), "max_running": 3},
    "blocks of one": {"runner": lambda: FakeRunner(blocks=96, block_size=1)},
    "blocks of sixteen": {"runner": lambda: FakeRunner(blocks=8, block_size=16)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_greedy_is_the_naive_loop(case: dict[str, Any]) -> None:
    options = dict(case)
    runner = options.pop("runner", FakeRunner)()
    with running(runner, **options) as engine:
        asked = prompts(24)
        handles = [engine.submit(prompt, greedy()) for prompt in asked]
        for prompt, handle in zip(asked, handles, strict=True):
            outs = list(handle)
            assert [out.token for out in outs] == naive(prompt, 12)
            assert [out.finish_reason for out in outs] == [None] * 11 + ["length"]
        again = engine.submit(asked[-1], greedy())  # most of it is cached now
        assert ids(again) == naive(asked[-1], 12)
        assert again.cached_tokens == (len(asked[-1]) - 1) // runner.block_size * runner.block_size
        if "runner" in case and runner.blocks == 24:
            assert engine.stats().counters.preemptions > 0


def test_a_conversation_reuses_its_own_answer() -> None:
    with running() as engine:
        first = ids(engine.submit([5] * 10, greedy(9)))
        second = engine.submit([5] * 10 + first + [7], greedy(4))
        assert ids(second) == naive([5] * 10 + first + [7], 4)
        assert second.cached_tokens == 16  # 18 were computed: the last token of an answer is not
        counters = engine.stats().counters
        assert (counters.prompt_tokens, counters.cached_tokens) == (30, 16)


def test_a_long_prompt_lets_others_go_on() -> None:
    gate = Gate(blocks=300)
    with running(gate, step_tokens=64, step_tokens_shared=8, max_running=8) as engine:
        chatting = engine.submit([1, 2, 3], greedy(150))
        assert eventually(lambda: engine.stats().running == 1)
        long = prompts(1, seed=9, longest=200)[0] * 3
        handle = engine.submit(long, greedy(5))
        gate.open.set()
        assert ids(chatting) == naive([1, 2, 3], 150)
        assert gate.largest == 8  # somebody was being answered until then
        assert ids(handle) == naive(long, 5)
    with running(FakeRunner(blocks=300), step_tokens=64, step_tokens_shared=8, max_running=8) as engine:
        assert ids(engine.submit(long, greedy(1))) == naive(long, 1)
        assert eventually(lambda: engine.stats().counters.steps == -(-len(long) // 64))  # and now nobody is


def test_forks_share_a_prompt_and_nothing_else() -> None:
    """Each answer is forced another way; its log probabilities then say whose cache it read."""
    with running(max_running=4) as engine:
        prompt = prompts(1, seed=2)[0]
        params = [greedy(7, logit_bias={10 + index: 100.0}, logprobs=1) for index in range(6)]
        for index, handle in enumerate(engine.submit_many(prompt, params)):
            outs = list(handle)
            assert [out.token for out in outs] == [10 + index] * 7
            rows = naive_logits(prompt + [10 + index] * 7)[len(prompt) - 1 :]
            wanted = [logprob(row, 10 + index) for row in rows[:7]]
            assert [out.logprob for out in outs] == pytest.approx(wanted, abs=1e-4)
        assert engine.stats().counters.prompt_tokens == len(prompt)


def logprob(row: NDArray[np.float32], token: int) -> float:
    exact = row.astype(np.float64)
    return float(exact[token] - exact.max() - np.log(np.exp(exact - exact.max()).sum()))


@pytest.mark.parametrize("cached", [False, True])
def test_prompt_logprobs(cached: bool) -> None:
    prompt = prompts(1, seed=4)[0]
    with running(step_tokens=5, step_tokens_shared=5, max_running=3) as engine:
        if cached:
            ids(engine.submit(prompt, greedy(1)))
        handle = engine.submit(prompt, greedy(0, prompt_logprobs=3))
        assert list(handle) == [] and handle.finish_reason == "length"
        rows, known = naive_logits(prompt), handle.prompt_logprobs
        assert known is not None and known[0] is None and len(known) == len(prompt)
        for row, token, got in zip(rows, prompt[1:], known[1:], strict=False):
            assert got is not None
            assert got[0] == pytest.approx(logprob(row, token), abs=1e-4)
            best = np.argsort(-row, kind="stable")[:3].tolist()
            assert [id_ for id_, _ in got[1]] == best
        tops: list[int | None] = [None, 0, 3]
        group = engine.submit_many(prompt, [greedy(1, prompt_logprobs=top) for top in tops])
        assert [ids(each) for each in group] == [naive(prompt, 1)] * 3
        assert group[0].prompt_logprobs is None and group[2].prompt_logprobs == known
        assert group[1].prompt_logprobs == [entry and (entry[0], []) for entry in known]


def test_stops_and_limits() -> None:
    prompt = prompts(1, seed=6)[0]
    wanted = naive(prompt, 8)
    with running(eos_ids=[wanted[3]]) as engine:
        first = wanted.index(wanted[3])
        *_, last = handle_outs = list(engine.submit(prompt, greedy(8)))
        assert [out.token for out in handle_outs] == wanted[: first + 1] and last.finish_reason == "stop"
        assert ids(engine.submit(prompt, greedy(8, ignore_eos=True))) == wanted
        stopped = engine.submit(prompt, greedy(8, ignore_eos=True, stop_token_ids=[wanted[1]]))
        assert ids(stopped) == wanted[:2] and stopped.finish_reason == "stop"
        assert list(engine.submit(prompt, greedy(0))) == []


def test_max_tokens_none_fills_the_context() -> None:
    with running(FakeRunner(blocks=8, block_size=4)) as engine:
        assert engine.context == 32
        assert ids(engine.submit([1] * 20, greedy(None))) == naive([1] * 20, 12)


@pytest.mark.parametrize("length", [1, 4, 6, 11])
def test_what_a_grammar_forces_is_computed_like_a_prompt(length: int) -> None:
    runner = FakeRunner()
    text = list(range(length))
    with running(runner) as engine:
        handle = engine.submit([9, 9], greedy(11, grammar=Script(text)))
        outs = list(handle)
        assert [out.token for out in outs] == text and handle.finish_reason == "stop"
        assert runner.steps == -(-length // 4)  # one is sampled, three are forced
        after = engine.submit([9, 9, *text], greedy(3))
        assert ids(after) == naive([9, 9, *text], 3)
        cut = engine.submit([9, 9], greedy(2, grammar=Script([1, 2, 3, 4, 5])))
        assert ids(cut) == [1, 2] and cut.finish_reason == "length"


def _wrong_slot(batch: Batch) -> None:
    batch.slots[-1] ^= 1


def _stale_table(batch: Batch) -> None:
    batch.block_tables[:, -1] = batch.block_tables[:, 0]


def _wrong_row(batch: Batch) -> None:
    batch.rows[0] = 0


def _wrong_id(batch: Batch) -> None:
    batch.ids[0] = (batch.ids[0] + 1) % VOCABULARY


@pytest.mark.parametrize("fault", [_wrong_slot, _stale_table, _wrong_row, _wrong_id])
def test_a_planted_fault_of_the_batch_is_seen(fault: Callable[[Batch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    build = BatchBuilder.build

    def faulty(self: BatchBuilder, entries: Sequence[Scheduled]) -> Batch:
        batch = build(self, entries)
        fault(batch)
        return batch

    monkeypatch.setattr(BatchBuilder, "build", faulty)
    with Engine(FakeRunner()) as engine, pytest.raises((AssertionError, StepFailed)):
        asked = prompts(8)
        handles = [engine.submit(prompt, greedy()) for prompt in asked]
        assert [ids(handle) for handle in handles] == [naive(prompt, 12) for prompt in asked]

"""The engine's tokens are the naive loop's, however it batches, chunks, caches, preempts and forks."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_fakes import VOCABULARY, FakeRunner, naive, naive_logits
from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import Owner
from ownlm.engine.engine import Engine
from ownlm.engine.sampler import Sampled, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.scheduler import Scheduled
from ownlm.errors import EngineBusy, EngineClosed, InvalidSetting, PromptTooLong, StepFailed
from ownlm.model.batch import Batch

EOS = VOCABULARY - 1


def greedy(answer: int | None = 12, **options: Any) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=answer, **options)


def prompts(count: int, seed: int = 5, longest: int = 30) -> list[list[int]]:
    """Of mixed lengths; half of them begin alike."""
    chance = random.Random(seed)
    shared = [chance.randrange(VOCABULARY) for _ in range(longest)]
    made = []
    for index in range(count):
        tail = [chance.randrange(VOCABULARY) for _ in range(chance.randint(1, longest))]
        made.append(shared[: chance.randint(0, longest)] + tail if index % 2 else tail)
    return made


@contextmanager
def running(runner: Any = None, **options: Any) -> Iterator[Engine]:
    with Engine(runner or FakeRunner(), **options) as engine:
        yield engine
        assert eventually(lambda: engine.stats().blocks_used == 0)
        stats = engine.stats()
        assert stats.blocks_free + stats.blocks_cached == stats.blocks_total and not stats.waiting
        assert not stats.counters.audit_failures, stats.counters.last_audit


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def ids(handle: Any) -> list[int]:
    return [out.token for out in handle]


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


def test_too_long_is_an_error_with_the_numbers() -> None:
    with running(FakeRunner(blocks=8, block_size=4)) as engine:
        with pytest.raises(PromptTooLong, match="33 tokens long and the context holds 32"):
            engine.submit([1] * 33, greedy(None))
        with pytest.raises(PromptTooLong, match="33 tokens long"):
            engine.submit([1] * 33, greedy(1))
        with pytest.raises(PromptTooLong, match=r"max_tokens is 20, together 40.*at most 12 tokens"):
            engine.submit([1] * 20, greedy(20))
        assert len(ids(engine.submit([1] * 20, greedy(12)))) == 12
        with pytest.raises(InvalidSetting, match="at least one token"):
            engine.submit([], greedy())
        with pytest.raises(InvalidSetting, match=f"is {VOCABULARY}: give ids from 0 to {VOCABULARY - 1}"):
            engine.submit([1, VOCABULARY], greedy())


def test_a_thousand_concurrent_requests() -> None:
    asked = prompts(1000, longest=12)
    handles: dict[int, Any] = {}
    with running(FakeRunner(blocks=120), max_running=32) as engine:

        def client(first: int) -> None:
            for index in range(first, 1000, 8):
                handles[index] = engine.submit(asked[index], greedy(4))

        threads = [threading.Thread(target=client, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, handle in handles.items():
            assert ids(handle) == naive(asked[index], 4)
        assert len(handles) == engine.stats().counters.finished == 1000


def test_too_many_are_refused() -> None:
    gate = Gate()
    with running(gate, max_running=1, max_waiting=2) as engine:
        handles = [engine.submit([1, 2], greedy(3)) for _ in range(3)]
        with pytest.raises(EngineBusy, match="requests are waiting"):
            engine.submit([1, 2], greedy(3))
        assert engine.stats().counters.refused == 1
        gate.open.set()
        assert all(ids(handle) == naive([1, 2], 3) for handle in handles)


class Gate(FakeRunner):
    """Computes no step until it is opened."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.open = threading.Event()

    def step(self, batch: Batch) -> NDArray[np.float32]:
        assert self.open.wait(30)
        return super().step(batch)


@pytest.mark.parametrize("way", ["cancel", "drop"])
def test_who_leaves_in_mid_stream_frees_their_blocks(way: str) -> None:
    with running(FakeRunner(blocks=300)) as engine:
        stays = engine.submit([4, 5], greedy(30))
        leaves = engine.submit([1, 2, 3], greedy(1000))
        assert leaves.get() is not None and engine.stats().blocks_used > 0
        if way == "cancel":
            leaves.cancel()
            list(leaves)
            assert leaves.finish_reason == "cancelled"
        else:
            del leaves
        assert ids(stays) == naive([4, 5], 30)
        assert eventually(lambda: engine.stats().running == 0)
        assert engine.stats().blocks_used == 0
        assert engine.stats().counters.cancelled == 1


def test_leaving_while_waiting_or_before_a_fork() -> None:
    gate = Gate()
    with running(gate, max_running=1) as engine:
        first, *forks = engine.submit_many([1, 2, 3], [greedy(3)] * 4)
        waits = engine.submit([9], greedy(3))
        first.cancel()
        forks[1].cancel()
        waits.cancel()
        gate.open.set()
        assert ids(forks[0]) == ids(forks[2]) == naive([1, 2, 3], 3)
        assert ids(waits) == [] and ids(forks[1]) == []
        gate.open.clear()
        blocker = engine.submit([7], greedy(1))
        first, heir = engine.submit_many([1, 2, 3], [greedy(1), greedy(1, prompt_logprobs=1)])
        first.cancel()
        gate.open.set()
        assert ids(heir) == naive([1, 2, 3], 1) and len(heir.prompt_logprobs or []) == 3
        del blocker
        list(first)
        assert first.finish_reason == "cancelled"


def test_one_request_that_fails_takes_nobody_along() -> None:
    class Picky(Sampler):
        def sample(self, logits: Any, states: Sequence[Any]) -> list[Sampled]:
            if states[0].params.seed == 13:
                raise KeyError("a fault of this request")
            return super().sample(logits, states)

    with running(sampler=Picky()) as engine:
        handles = [engine.submit([index, 3], greedy(6, seed=12 + index % 3)) for index in range(9)]
        for index, handle in enumerate(handles):
            if index % 3 == 1:
                with pytest.raises(StepFailed, match="a fault of this request"):
                    ids(handle)
                assert ids(handle) == []
            else:
                assert ids(handle) == naive([index, 3], 6)


def test_a_failing_step_fails_those_in_it_and_no_more() -> None:
    class Faulty(Gate):
        def step(self, batch: Batch) -> NDArray[np.float32]:
            logits = super().step(batch)
            if self.steps == 3:
                self.cache[:] = 0  # whatever it wrote is worth nothing
                raise MemoryError("no room for activations")
            return logits

    runner = Faulty()
    with running(runner, max_running=2) as engine:
        handles = [engine.submit([index], greedy(6)) for index in range(4)]
        runner.open.set()
        for handle in handles[:2]:
            with pytest.raises(StepFailed, match="step of 2 requests: MemoryError: no room"):
                ids(handle)
        assert [ids(handle) for handle in handles[2:]] == [naive([2], 6), naive([3], 6)]
    with running(Faulty(), step_tokens=1, step_tokens_shared=1, max_running=1) as engine:
        forks = engine.submit_many([1, 2, 3, 4, 5], [greedy(6)] * 3)
        engine.runner.open.set()  # type: ignore[attr-defined]
        for handle in forks:  # all were to come from the prompt that failed
            with pytest.raises(StepFailed):
                ids(handle)
        assert engine.stats().counters.failed == 3


def test_tokens_before_an_error_are_given_out() -> None:
    class Failing(FakeRunner):
        def step(self, batch: Batch) -> NDArray[np.float32]:
            if self.steps == 2:
                raise RuntimeError("no third step")
            return super().step(batch)

    with running(Failing()) as engine:
        handle = engine.submit([1], greedy(6))
        assert eventually(lambda: engine.stats().counters.failed == 1)
        assert [out.token for out in handle.poll()] == naive([1], 2)
        with pytest.raises(StepFailed, match="no third step"):
            handle.poll()
        assert handle.done and handle.poll() == []


def test_closing_ends_what_is_left() -> None:
    gate = Gate()
    engine = Engine(gate, max_running=1)
    handles = [engine.submit([1], greedy(50)) for _ in range(3)]
    threading.Timer(0.05, gate.open.set).start()
    engine.close()
    for handle in handles:
        with pytest.raises(EngineClosed):
            ids(handle)
    with pytest.raises(EngineClosed):
        engine.submit([1], greedy())
    engine.close()


def test_priority_goes_first() -> None:
    gate = Gate()
    with running(gate, max_running=1) as engine:
        engine.submit([1], greedy(1))
        order: list[str] = []
        handles = []
        for name, priority in (("late", 0), ("later", 0), ("urgent", 5)):
            handle = engine.submit([2], greedy(1), priority=priority)
            handle.notify(lambda name=name, handle=handle: order.append(name) if handle.poll() else None)
            handles.append(handle)
        gate.open.set()
        assert eventually(lambda: len(order) == 3)
        assert order == ["urgent", "late", "later"]


def test_a_purged_owner_is_found_no_more() -> None:
    with running() as engine:
        prompt = list(range(40))
        ids(engine.submit(prompt, greedy(2), owners=[Owner("letter", 8)]))
        assert engine.purge("nobody") == 0
        assert engine.purge("letter") == 8  # of blocks 0-3, 4-7, 8-11 ...: all but the first two
        handle = engine.submit(prompt, greedy(2))
        assert ids(handle) == naive(prompt, 2) and handle.cached_tokens == 8


def test_purging_while_it_is_read_keeps_nothing() -> None:
    gate = Gate()
    with running(gate) as engine:
        handles = engine.submit_many(list(range(12)), [greedy(9)] * 2, owners=[Owner("letter", 0)])
        waits = engine.submit_many(list(range(20, 32)), [greedy(9)] * 2, owners=[Owner("letter", 0)])
        engine.purge("letter")
        waits[0].cancel()  # its follower begins anew, after the purge
        gate.open.set()
        assert ids(handles[0]) == ids(handles[1]) == naive(list(range(12)), 9)
        assert ids(waits[1]) == naive(list(range(20, 32)), 9)
        assert eventually(lambda: engine.stats().blocks_free == engine.stats().blocks_total)


def test_the_audit_finds_a_leak_and_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(FakeRunner()) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(BlockManager, "release", lambda self, table: table.blocks.clear())
            ids(engine.submit([1, 2, 3], greedy(9)))
            assert eventually(lambda: engine.stats().counters.audit_failures == 1)
        assert "held" in engine.stats().counters.last_audit
        assert engine.stats().blocks_free == engine.stats().blocks_total
        assert ids(engine.submit([1, 2, 3], greedy(9))) == naive([1, 2, 3], 9)


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


class Script:
    """A grammar that admits one text; what it forces, it forces in runs of three."""

    def __init__(self, text: list[int]) -> None:
        self.text = text
        self.error = ""

    def matcher(self) -> Script:
        return Script(list(self.text))

    @property
    def finished(self) -> bool:
        return not self.text

    def allowed(self) -> NDArray[np.bool_]:
        mask = np.zeros(VOCABULARY, bool)
        mask[self.text[0]] = True
        return mask

    def accept(self, token: int) -> bool:
        return token == self.text.pop(0)

    def forced(self, limit: int | None = None) -> list[int]:
        count = min(3, len(self.text), 3 if limit is None else limit)
        taken, self.text = self.text[:count], self.text[count:]
        return taken


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


def test_tokens_come_without_a_waiting_thread() -> None:
    """What a server does: a callback says that something came, and polling takes it."""
    came = threading.Event()
    with running() as engine:
        handle = engine.submit([3, 4, 5], greedy(20))
        handle.notify(came.set)
        tokens: list[int] = []
        while not handle.done:
            assert came.wait(10)
            came.clear()
            tokens += [out.token for out in handle.poll()]
        assert tokens == naive([3, 4, 5], 20)
        assert handle.get() is None and handle.poll() == []


def test_a_callback_that_fails_harms_nobody() -> None:
    with running() as engine:
        handle = engine.submit([3, 4, 5], greedy(20))
        handle._outbox.callback = lambda: 1 // 0
        assert ids(engine.submit([3, 4], greedy(20))) == naive([3, 4], 20)
        assert ids(handle) == naive([3, 4, 5], 20)


def test_accounting_needs_no_numpy() -> None:
    code = "import sys; import ownlm.engine.scheduler, ownlm.engine.handle; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_storm_of_arrivals_and_departures() -> None:
    """Threads submit, fork, read, cancel and walk away at random; whoever stays gets the naive loop's tokens."""
    wrong: list[object] = []
    with running(FakeRunner(blocks=40), max_running=6, step_tokens=16, step_tokens_shared=8) as engine:

        def client(seed: int) -> None:
            chance = random.Random(seed)
            for prompt in prompts(25, seed=seed // 2, longest=20):
                handles = engine.submit_many(prompt, [greedy(8)] * chance.choice([1, 1, 1, 3]))
                for handle in handles:
                    fate = chance.random()
                    if fate < 0.2:
                        handle.get()
                        handle.cancel()
                    elif fate < 0.4:
                        handle.get(timeout=0.001)
                    elif ids(handle) != naive(prompt, 8):
                        wrong.append(prompt)
                del handles, handle

        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong
        assert eventually(lambda: engine.stats().running == engine.stats().waiting == 0)
        counters = engine.stats().counters
        assert counters.cancelled > 20 and not counters.failed
        assert counters.finished + counters.cancelled == counters.submitted
        assert eventually(lambda: engine.stats().counters.audits > 0)

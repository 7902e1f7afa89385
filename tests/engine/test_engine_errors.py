"""What fails fails alone, is told clearly, and leaves the engine running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_fakes import FakeRunner, naive
from engine_harness import Gate, eventually, greedy, ids, running
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.engine import Engine
from ownlm.engine.sampler import Sampled, Sampler
from ownlm.errors import StepFailed
from ownlm.model.batch import Batch


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


def test_a_callback_that_fails_harms_nobody() -> None:
    with running() as engine:
        handle = engine.submit([3, 4, 5], greedy(20))
        handle._outbox.callback = lambda: 1 // 0
        assert ids(engine.submit([3, 4], greedy(20))) == naive([3, 4], 20)
        assert ids(handle) == naive([3, 4, 5], 20)


def test_the_audit_finds_a_leak_and_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(FakeRunner()) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(BlockManager, "release", lambda self, table: table.blocks.clear())
            ids(engine.submit([1, 2, 3], greedy(9)))
            assert eventually(lambda: engine.stats().counters.audit_failures == 1)
        assert "held" in engine.stats().counters.last_audit
        assert engine.stats().blocks_free == engine.stats().blocks_total
        assert ids(engine.submit([1, 2, 3], greedy(9))) == naive([1, 2, 3], 9)


def test_accounting_needs_no_numpy() -> None:
    code = "import sys; import ownlm.engine.scheduler, ownlm.engine.handle; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

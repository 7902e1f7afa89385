"""An engine over the model without weights, and what is asked of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine_fakes import VOCABULARY, FakeRunner
from ownlm.engine.engine import Engine
from ownlm.engine.sampling_params import SamplingParams
from ownlm.model.batch import Batch


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


class Gate(FakeRunner):
    """Computes no step until it is opened."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.open = threading.Event()

    def step(self, batch: Batch) -> NDArray[np.float32]:
        assert self.open.wait(30)
        return super().step(batch)


class Script:
    """A grammar: for each token of the text, the one or the several that it admits. What must follow it forces, in runs
    of three."""

    def __init__(self, text: list[int | tuple[int, ...]]) -> None:
        self.text = text
        self.error = ""

    def matcher(self) -> Script:
        return Script(list(self.text))

    @property
    def finished(self) -> bool:
        return not self.text

    def allowed(self) -> NDArray[np.bool_]:
        mask = np.zeros(VOCABULARY, bool)
        if self.text:
            mask[self._first()] = True
        return mask

    def accept(self, token: int) -> bool:
        admitted = token in self._first()
        del self.text[0]
        return admitted

    def forced(self, limit: int | None = None) -> list[int]:
        taken: list[int] = []
        while self.text and len(taken) < min(3, 3 if limit is None else limit) and len(self._first()) == 1:
            taken += self._first()
            del self.text[0]
        return taken

    def _first(self) -> list[int]:
        return [self.text[0]] if isinstance(self.text[0], int) else list(self.text[0])

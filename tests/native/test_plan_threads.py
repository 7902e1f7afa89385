"""Plans and threads: callers queue, the GIL is free, nobody computes when there is nothing to compute."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ownlm import native
from ownlm.native import plan
from plan_support import batches

D = 256


def deep(layers: int, seed: int = 0) -> plan.Plan:
    """A plan of many short steps, where waiting goes wrong first."""
    rng = np.random.default_rng(seed)
    p = plan.Plan()
    x = p.embed([("ids", rng.standard_normal((50, D)).astype(np.float32), "f32")], D)
    for _ in range(layers):
        w = native.pack_f32((rng.standard_normal((D, D)) / 16).astype(np.float32))
        x = p.linear(p.norm(x, plan.RMSNorm(np.ones(D, np.float32), 1e-6)), w, residual=x)
    p.logits(x, native.pack_f32(rng.standard_normal((64, D)).astype(np.float32)))
    return p


def test_many_threads_may_run_one_plan_and_others(threads: None) -> None:
    native.set_threads(3)
    plans = [deep(20, seed) for seed in range(2)]
    facts = [batch for length in (1, 5, 17) for _, batch in batches([length], length)]
    expected = [[p.run(batch) for batch in facts] for p in plans]
    wrong: list[object] = []

    def work(which: int) -> None:
        for turn in range(60):
            at = (turn + which) % len(facts)
            if not np.array_equal(plans[which % 2].run(facts[at]), expected[which % 2][at]):
                wrong.append((which, at))

    workers = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_more_threads_than_processors_end_too(threads: None, count: int) -> None:
    """A thread that the system puts aside between tasks is not waited for."""
    p = deep(20)
    ((_, batch),) = batches([9], 9)
    before = p.run(batch)
    native.set_threads(count)
    start = time.perf_counter()
    for _ in range(20):
        assert np.array_equal(p.run(batch), before)
    assert time.perf_counter() - start < 20


def test_idle_threads_sleep(threads: None) -> None:
    native.set_threads(4)
    p = deep(4)
    ((_, batch),) = batches([9], 9)
    p.run(batch)
    time.sleep(0.02)
    start = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - start < 0.03


def test_python_goes_on_while_a_plan_runs(threads: None) -> None:
    native.set_threads(1)
    p = deep(60)
    ((_, batch),) = batches([50], 50)
    seen, done = 0, threading.Event()

    def work() -> None:
        for _ in range(10):
            p.run(batch)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        seen += 1
        time.sleep(0.0005)
    worker.join()
    assert seen > 3

"""The pool: one answer whatever the threads and callers, and a child process of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ownlm import native
from ownlm.errors import InvalidSetting

ROWS = np.random.default_rng(1).standard_normal((300, 64), dtype=np.float32)
WEIGHT = np.random.default_rng(2).standard_normal((80, 64), dtype=np.float32)


def compute() -> bytes:
    return native.linear(ROWS, native.pack_f32(WEIGHT), activation="gelu").tobytes()


def test_results_are_the_same_for_any_number_of_threads(threads: None) -> None:
    results = set()
    for n in (1, 2, 3, 8):
        native.set_threads(n)
        assert native.threads() == n
        results.add(compute())
    assert len(results) == 1


def test_many_callers_at_once(threads: None) -> None:
    native.set_threads(2)
    expected = compute()
    with ThreadPoolExecutor(16) as callers:
        assert all(result == expected for result in callers.map(lambda _: compute(), range(400)))


def test_threads_may_change_while_others_compute(threads: None) -> None:
    expected = compute()
    with ThreadPoolExecutor(4) as callers:
        results = [callers.submit(compute) for _ in range(200)]
        for n in (1, 4, 2, 3) * 3:
            native.set_threads(n)
        assert all(result.result() == expected for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_computes(threads: None) -> None:
    """Forks while other threads are inside the pool: the child's copy of its locks may be held by nobody."""
    native.set_threads(2)
    expected = compute()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            compute()

    workers = [threading.Thread(target=busy) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            reader, writer = context.Pipe(duplex=False)
            child = context.Process(target=lambda pipe: pipe.send_bytes(compute()), args=(writer,))
            child.start()
            assert reader.poll(30), "the child hangs"
            assert reader.recv_bytes() == expected
            child.join()
            reader.close()
            writer.close()
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_the_gil_is_released() -> None:
    """A Python thread goes on counting while a long call computes."""
    x = np.zeros((256, 1024), np.float32)
    packed = native.pack_f32(np.zeros((1024, 1024), np.float32))
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.0001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        before = native.isa()
        native.use_isa("portable")
        seen = ticks
        for _ in range(3):
            native.linear(x, packed)
        native.use_isa(before)
        assert ticks - seen >= 3
    finally:
        done.set()
        ticker.join()


def test_idle_workers_sleep(threads: None) -> None:
    native.set_threads(4)
    compute()
    time.sleep(0.05)
    start = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - start < 0.05


def test_bad_numbers_of_threads_are_refused() -> None:
    for bad in (0, -1, 100_000):
        with pytest.raises(InvalidSetting, match=f"threads is {bad}"):
            native.set_threads(bad)


def run(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OWNLM_")} | settings
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_settings_come_from_the_environment() -> None:
    code = "from ownlm import native; print(native.isa(), native.threads())"
    assert run(code, OWNLM_ISA="portable", OWNLM_THREADS="1").stdout.split() == ["portable", "1"]
    assert run(code).stdout.split() == [native.isas()[-1], str(min(native.available_cpus(), 1024))]
    for name, bad in [("OWNLM_ISA", "mmx"), ("OWNLM_THREADS", "0"), ("OWNLM_THREADS", "many")]:
        result = run(code, **{name: bad})
        assert f"InvalidSetting: {name} is '{bad}'" in result.stderr


def test_importing_loads_nothing() -> None:
    code = "import sys, ownlm.native; print([m for m in ('numpy', 'ownlm.native._kernels') if m in sys.modules])"
    assert run(code).stdout.strip() == "[]"

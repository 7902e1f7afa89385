"""The clock that ends overdue workers: in order, never after a cancel, with one thread for all."""

from __future__ import annotations

import threading
import time

from ownlm.worker.clock import Clock


def test_alarms_ring_in_order_and_not_when_cancelled() -> None:
    clock, rung = Clock(), []
    done = threading.Event()
    late = clock.set(60, lambda: rung.append("late"))
    second = clock.set(0.1, lambda: (rung.append("second"), done.set())[0])
    gone = clock.set(0.05, lambda: rung.append("gone"))
    first = clock.set(0.02, lambda: rung.append("first"))
    gone.cancel()
    assert done.wait(5)
    time.sleep(0.05)
    assert rung == ["first", "second"]
    assert [alarm.rang for alarm in (late, second, gone, first)] == [False, True, False, True]


def test_cancelled_alarms_do_not_pile_up() -> None:
    clock = Clock()
    before = threading.active_count()
    for _ in range(5000):
        clock.set(60, lambda: None).cancel()
    assert len(clock._alarms) <= 1001
    assert threading.active_count() <= before + 1

"""Many callers: they crowd, leave, hurry, and take their documents away; the accounts stay whole."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from engine_fakes import VOCABULARY, FakeRunner, naive
from engine_harness import Gate, eventually, greedy, ids, prompts, running
from ownlm.engine.block_table import Owner
from ownlm.engine.engine import Engine
from ownlm.errors import EngineBusy, EngineClosed, InvalidSetting, PromptTooLong


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


def test_too_many_are_refused() -> None:
    gate = Gate()
    with running(gate, max_running=1, max_waiting=2) as engine:
        handles = [engine.submit([1, 2], greedy(3)) for _ in range(3)]
        with pytest.raises(EngineBusy, match="requests are waiting"):
            engine.submit([1, 2], greedy(3))
        assert engine.stats().counters.refused == 1
        gate.open.set()
        assert all(ids(handle) == naive([1, 2], 3) for handle in handles)


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

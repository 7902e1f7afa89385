"""Random lives of requests: accounts stay whole, and nobody ever reads what is not theirs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine_schedules import World
from ownlm.engine import block_manager
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import BlockTable, Owner
from ownlm.engine.prefix_cache import PrefixCache
from ownlm.engine.request import Request
from ownlm.engine.scheduler import Scheduled, Scheduler

PROMPTS = [[0] * 9, [0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 2], [2, 1, 0], [1], [0, 0, 0, 0, 1, 1, 2, 2, 1, 1, 0, 0]]


def live(script: bytes) -> World:
    """Each byte is something that happens: an arrival, steps, somebody leaving, a purge."""
    first = script[0]
    world = World(
        blocks=6 + first % 7,
        block_size=1 + first // 7 % 4,
        max_running=1 + first // 28 % 4,
        step_tokens=1 + first % 11,
        shared_tokens=1 + first % 5,
        score_tokens=1 + first % 3,
        disk=first % 2 == 1,
    )
    for byte in script[1:]:
        kind, value = byte % 8, byte // 8
        if kind <= 1:
            prompt = PROMPTS[value % len(PROMPTS)][: world.context - 1]
            owners = [Owner("ab"[value % 2], value % 5)] if value % 3 == 0 else []
            world.submit(prompt, 1 + value % 6, owners=owners, prompt_logprobs=2 if value % 5 == 1 else None)
        elif kind == 2:
            world.submit(PROMPTS[value % len(PROMPTS)][: world.context - 1], 1 + value % 7, n=2 + value % 3)
        elif kind == 3 and world.live:
            world.cancel(world.live[value % len(world.live)])
        elif kind == 4 and value % 4 == 0:
            world.purge("ab"[value // 4 % 2])
        elif kind == 4 and value % 4 == 1 and world.disk and world.disk.blocks:
            del world.disk.blocks[sorted(world.disk.blocks)[value % len(world.disk.blocks)]]  # its own eviction
        elif not world.scheduler.idle:
            for _ in range(1 + value % 3):
                world.step(value)
    return world


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.binary(min_size=1, max_size=40))
@example(bytes([255, *range(200, 240)]))
def test_random_schedules_leave_the_accounts_whole(script: bytes) -> None:
    live(script).drain()


def test_schedules_meet_what_they_are_to_test() -> None:
    """Evictions, preemptions, drafts that come and that do not, and blocks from disk all happen in such lives."""
    random_bytes = random.Random(1).randbytes
    worlds = [live(random_bytes(40)) for _ in range(200)]
    assert sum(world.blocks.evictions for world in worlds) > 200
    assert sum(world.scheduler.preemptions for world in worlds) > 50
    assert sum(world.accepted for world in worlds) > 200
    assert sum(world.drafted - world.accepted for world in worlds) > 200
    assert sum(world.disk.found for world in worlds if world.disk) > 100


def _leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockManager, "release", lambda self, table: table.blocks.clear())


def _write_into_shared_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(self: BlockManager, table: BlockTable, computed: int, target: int) -> bool:
        more = self.blocks_for(target) - len(table.blocks)
        if more > self.available:
            return False
        table.blocks += [self._allocate() for _ in range(more)]
        return True

    monkeypatch.setattr(BlockManager, "grow", grow)


def _forget_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockManager, "take_copies", lambda self: self._copies.clear() or [])


def _take_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockManager, "attach", lambda self, table, found: table.blocks.extend(found))


def _name_blocks_by_their_own_tokens_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def extend(digests: list[bytes], tokens: list[int], count: int, size: int) -> None:
        for at in range(len(digests), count):
            digests.append(bytes(tokens[at * size : (at + 1) * size]))

    monkeypatch.setattr(block_manager, "extend_digests", extend)


def _name_blocks_that_are_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    register = BlockManager.register
    early = lambda self, table, tokens, computed: register(  # noqa: E731
        self, table, tokens, min(len(tokens), len(table.blocks) * self.block_size)
    )
    monkeypatch.setattr(BlockManager, "register", early)


def _reuse_the_whole_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Request, "reusable", property(lambda self: len(self.tokens)))


def _count_found_blocks_and_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockManager, "attach", lambda self, table, found: None)


def _evict_without_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrefixCache, "forget", lambda self, block: None)


def _admit_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockManager, "cost", lambda self, found: -1000)


def _keep_what_was_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Request, token: int) -> None:
        self.tokens.append(token)
        if self.drafted:
            self.accepted += 1
            self.computed += 1
            del self.drafted[0]

    monkeypatch.setattr(Request, "take", take)


def _take_drafts_for_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(self: Scheduler, entry: Scheduled) -> None:
        request = entry.request
        request.computed = entry.start + entry.size
        self.blocks.register(request.table, request.tokens + request.drafted, request.computed)

    monkeypatch.setattr(Scheduler, "computed", computed)


def _name_drafts_early(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = Scheduler.computed

    def early(self: Scheduler, entry: Scheduled) -> None:
        computed(self, entry)
        if entry.request.running:
            tokens = entry.request.tokens + entry.request.drafted
            self.blocks.register(entry.request.table, tokens, entry.start + entry.size)

    monkeypatch.setattr(Scheduler, "computed", early)


def _fetch_and_forget_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "write_blocks", lambda self, ids, data: None)


def _never_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_preempt", lambda self, request: setattr(request, "running", False))


FAULTS = [value for name, value in sorted(globals().items()) if name.startswith("_") and callable(value)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__[1:])
def test_a_planted_fault_is_seen(fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    random_bytes = random.Random(2).randbytes
    with pytest.raises((AssertionError, KeyError, ValueError, IndexError)):
        for _ in range(400):
            live(random_bytes(40)).drain(200)

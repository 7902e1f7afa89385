"""A cache without numbers: what each slot holds is named, so that a wrong slot, copy or reuse is seen at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from ownlm.engine import prefix_cache
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import Owner
from ownlm.engine.kv_folder import tag_digest
from ownlm.engine.kv_keeper import Keeper
from ownlm.engine.kv_segment import Block
from ownlm.engine.request import Request
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.scheduler import Scheduled, Scheduler
from ownlm.engine.stats import Counters

Names = list[int | None]


class Disk:
    """What a store keeps, without files: the names that the slots of each block held."""

    trouble = None

    def __init__(self) -> None:
        self.blocks: dict[bytes, tuple[Block, Names, frozenset[str]]] = {}
        self.dead: set[bytes] = set()
        self.folder = SimpleNamespace(dead=self.dead, purged=[], is_dead=self._is_dead)
        self.found = 0

    def _is_dead(self, tags: frozenset[str]) -> bool:
        return any(tag_digest(tag) in self.dead for tag in tags)

    def refresh(self) -> None: ...

    def touch(self, digests: Sequence[bytes], now: int) -> None: ...

    def find(self, digests: Sequence[bytes], *, fresh: bool = True) -> int:
        return next((at for at, digest in enumerate(digests) if digest not in self.blocks), len(digests))

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        return [at for at, digest in enumerate(digests) if digest not in self.blocks]

    def read(self, digests: Sequence[bytes]) -> Iterator[list[Names]]:
        self.found += len(digests)
        yield from [[self.blocks[digest][1] for digest in digests[at : at + 2]] for at in range(0, len(digests), 2)]

    def tags(self, digests: Sequence[bytes]) -> list[frozenset[str]]:
        return [self.blocks[digest][2] for digest in digests]

    def children(self, parent: bytes) -> list[bytes]:
        return [block.tokens for block, _, _ in self.blocks.values() if block.parent == parent]

    def purge(self, tag: str) -> None:
        self.blocks = {digest: kept for digest, kept in self.blocks.items() if tag not in kept[2]}


class PromptKeeper(Keeper):
    """Writes at once, whatever is computed, be it short."""

    def __init__(self, world: World, disk: Disk) -> None:
        super().__init__(cast(Any, world), world.scheduler, Counters(), threading.Lock(), cast(Any, disk))
        self._least, self.disk = 1, disk

    def _put(self, batch: Any) -> None:
        if not self.disk._is_dead(batch.tags):
            for block, names in zip(batch.blocks, batch.data, strict=True):
                self.disk.blocks[block.digest] = block, names, batch.tags


class World:
    """A scheduler, and slots that it fills. Every step checks what it reads, and the accounts.

    Requests that generate are given drafts by ``step``, of which some come. ``disk``: prompts outlive their eviction.
    """

    block_bytes = 1 << 20

    def __init__(self, blocks: int = 8, block_size: int = 2, *, disk: bool = False, **options: int) -> None:
        self.block_size = block_size
        self.blocks = BlockManager(blocks, block_size)
        self.scheduler = Scheduler(self.blocks, **options)
        self.context = blocks * block_size
        self.slots: list[int | None] = [None] * self.context
        self.live: list[Request] = []
        self.arrived = 0
        self.drafted = self.accepted = 0
        self.disk = Disk() if disk else None
        self.keeper = PromptKeeper(self, self.disk) if self.disk else None
        self._names: dict[int, list[int]] = {}

    def names(self, request: Request) -> list[int]:
        """What the cache must hold for each token of a request, and its drafts: a name of all tokens up to it."""
        found = self._names.setdefault(request.request_id, [])
        for token in request.tokens[len(found) :]:
            found.append(hash((found[-1] if found else 0, token)))
        drafted = found[: len(request.tokens)]
        for token in request.drafted:
            drafted.append(hash((drafted[-1], token)))
        return drafted

    def read_blocks(self, ids: Sequence[int]) -> list[Names]:
        size = self.block_size
        return [self.slots[block * size : (block + 1) * size] for block in ids]

    def write_blocks(self, ids: Sequence[int], data: list[Names]) -> None:
        for block, names in zip(ids, data, strict=True):
            self.slots[block * self.block_size : (block + 1) * self.block_size] = names

    def submit(
        self, prompt: Sequence[int], answer: int, n: int = 1, owners: Sequence[Owner] = (), **options: Any
    ) -> list[Request]:
        params = SamplingParams(**options)
        limit = min(self.context, len(prompt) + answer)
        group = []
        for _ in range(n):
            request = Request(
                self.arrived, prompt, params, cast(Any, None), cast(Any, None), limit=limit, owners=owners
            )
            self.arrived += 1
            group.append(request)
        self.scheduler.add(group[0], group[1:])
        if self.keeper:
            self.keeper.arrived(group[0])
        self.live += group
        self.check()
        return group

    def cancel(self, request: Request) -> None:
        request.done = True
        self.scheduler.remove(request)
        self.live.remove(request)
        self.check()

    def purge(self, tag: str) -> None:
        if self.keeper:
            self.keeper.purge(tag)
        else:
            self.scheduler.purge(tag)
        self.check()

    def step(self, token: int = 0) -> int:
        """One step; how many tokens it computed. Each request that samples gets tokens made from ``token``."""
        scheduler, cached = self.scheduler, {each: each.cached_tokens for each in self.live if each.admitted}
        if self.keeper:
            self.keeper.before()
            self.check()
        self._draft(token)
        generating = any(each.missing == 1 for each in scheduler.running)
        batch = scheduler.schedule()
        assert sum(entry.scores for entry in batch.entries) <= scheduler.score_tokens
        computed = sum(entry.size for entry in batch.entries)
        assert computed <= (scheduler.shared_tokens if generating else scheduler.step_tokens)
        assert len({target for _, target in batch.copies}) == len(batch.copies), "two copies into one block"
        assert all(each.cached_tokens == tokens for each, tokens in cached.items())
        size = self.blocks.block_size
        for source, target in batch.copies:
            self.slots[target * size : (target + 1) * size] = self.slots[source * size : (source + 1) * size]
        written: set[int] = set()
        for entry in batch.entries:
            request, table = entry.request, entry.request.table.blocks
            assert request.running and entry.size > 0 and entry.start == request.computed
            names = self.names(request)
            for at in range(entry.start, entry.start + entry.size):
                slot = table[at // size] * size + at % size
                assert slot not in written, "two requests write to one slot"
                written.add(slot)
                self.slots[slot] = names[at]
        for entry in batch.entries:  # as a forward: all is written, then all is read
            request, table = entry.request, entry.request.table.blocks
            end = entry.start + entry.size
            read = [slot for block in table for slot in self.slots[block * size : (block + 1) * size]]
            assert read[:end] == self.names(request)[:end], "reads what it did not write"
            assert (entry.samples > 0) == (end - entry.drafts == len(request.tokens))
            assert entry.drafts == len(request.drafted) and len(request.tokens) + entry.drafts <= request.limit
        for entry in batch.entries:
            self._after(entry.request, entry, token)
        self.check()
        if self.keeper:
            self.keeper.after()
            self.check()
        assert batch.entries or scheduler.idle, "somebody waits and nobody runs"
        return computed

    def _after(self, request: Request, entry: Scheduled, token: int) -> None:
        self.scheduler.computed(entry)
        request.prompt_logprobs += [None] * entry.scores
        if not entry.samples:
            return
        assert not request.scoring, "it goes on before its prompt is scored"
        forks = self.scheduler.fork(request) if request.followers else []
        assert not forks or not entry.drafts
        if self.keeper and len(request.tokens) == request.prompt_length:
            self.keeper.prompt_done(request)
        for index, each in enumerate([request, *forks]):
            for row in range(entry.samples):  # as long as the drafts are what comes
                each.take((token + row + index) % 3)
                if len(each.tokens) >= each.limit:
                    each.done = True
                    self.scheduler.remove(each)
                    self.live.remove(each)
                if each.done or each.missing:
                    break
            self.accepted += each.accepted
            each.accepted = 0
            each.drop_drafts()

    def _draft(self, token: int) -> None:
        """Drafts for those that generate: the tokens that come, and among them some that do not."""
        for request in self.scheduler.running:
            if len(request.tokens) > request.prompt_length:
                most = min((token + request.request_id) % 6, request.limit - len(request.tokens) - 1)
                request.drafted = [(token + row + (row == request.request_id % 4)) % 3 for row in range(most)]
                self.drafted += len(request.drafted)

    def check(self) -> None:
        blocks = self.blocks
        assert blocks.free + blocks.cached + blocks.used == blocks.total
        assert self.scheduler.audit() == ""
        requests = list(self.scheduler.requests())
        waiting = [request for request in requests if not request.running]
        assert self.scheduler.waiting == len(waiting) + sum(len(request.followers) for request in requests)
        assert len(requests) + sum(len(request.followers) for request in requests) == len(self.live)
        running = self.scheduler.running
        assert len(running) <= self.scheduler.max_running
        assert all(one.order < other.order for one, other in pairwise(running))
        for request in running:
            table, named = request.table, list[bytes]()
            prefix_cache.extend_digests(named, request.tokens, table.registered, self.block_size)
            assert table.registered * self.block_size <= request.computed <= len(request.tokens)
            assert table.digests[: table.registered] == named, "a block is called by tokens that are not known"

    def drain(self, steps: int = 2000) -> None:
        """Until nobody is left; the accounts must then be as in the beginning, but for what is cached."""
        for _ in range(steps):
            if self.scheduler.idle:
                break
            self.step()
        assert self.scheduler.idle, "somebody never ends"
        assert self.blocks.used == 0 and not self.live

"""A cache without numbers: what each slot holds is named, so that a wrong slot, copy or reuse is seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import Owner
from ownlm.engine.request import Request
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.scheduler import Scheduled, Scheduler


class World:
    """A scheduler, and slots that it fills. Every step checks what it reads, and the accounts."""

    def __init__(self, blocks: int = 8, block_size: int = 2, **options: int) -> None:
        self.blocks = BlockManager(blocks, block_size)
        self.scheduler = Scheduler(self.blocks, **options)
        self.context = blocks * block_size
        self.slots: list[int | None] = [None] * self.context
        self.live: list[Request] = []
        self.arrived = 0
        self._names: dict[int, list[int]] = {}

    def names(self, request: Request) -> list[int]:
        """What the cache must hold for each token of a request: a name of all tokens up to it."""
        found = self._names.setdefault(request.request_id, [])
        for token in request.tokens[len(found) :]:
            found.append(hash((found[-1] if found else 0, token)))
        return found

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
        self.live += group
        self.check()
        return group

    def cancel(self, request: Request) -> None:
        self.scheduler.remove(request)
        self.live.remove(request)
        self.check()

    def step(self, token: int = 0) -> int:
        """One step; how many tokens it computed. Each request that samples gets a token made from ``token``."""
        scheduler, cached = self.scheduler, {each: each.cached_tokens for each in self.live if each.admitted}
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
            assert entry.samples == (entry.start + entry.size == len(request.tokens))
        for entry in batch.entries:
            self._after(entry.request, entry, token)
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
        for index, each in enumerate([request, *forks]):
            each.tokens.append((token + index) % 3)
            if len(each.tokens) >= each.limit:
                self.scheduler.remove(each)
                self.live.remove(each)

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

    def drain(self, steps: int = 2000) -> None:
        """Until nobody is left; the accounts must then be as in the beginning, but for what is cached."""
        for _ in range(steps):
            if self.scheduler.idle:
                break
            self.step()
        assert self.scheduler.idle, "somebody never ends"
        assert self.blocks.used == 0 and not self.live

"""Which tokens of which requests the next step computes. Plain accounting: no arrays, no model, no phases.

Every request has known tokens and computed ones, and a step lets the computed ones catch up: by one for a request that
generates, by a chunk for one whose prompt is long, within a budget of tokens a step. When blocks run out, the request
that came last gives its own back and waits again; what it had computed stays cached as long as nobody needs the room.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ownlm.engine.block_manager import BlockManager
from ownlm.engine.prefix_cache import Reuse
from ownlm.engine.request import Request


class Scheduled(NamedTuple):
    """Compute tokens ``start .. start + size - 1`` of a request.

    Logits are wanted at ``scores`` of these, from ``first_score`` on (what they say of the prompt's next tokens), and
    at the last ``samples``: none, the last known token alone, or that one and the drafts that stand behind it.
    """

    request: Request
    start: int
    size: int
    first_score: int
    scores: int
    samples: int

    @property
    def drafts(self) -> int:
        """How many of the tokens are not known yet."""
        return max(0, self.samples - 1)


class ScheduledBatch(NamedTuple):
    """One step: blocks to copy first, in order, then what to compute."""

    entries: list[Scheduled]
    copies: list[tuple[int, int]]


class Scheduler:
    """Requests that wait and requests that run. For one thread.

    ``step_tokens``: at most so many a step, ``shared_tokens`` while anyone generates (a step that computes much of
    one prompt makes all others wait for their next token). ``score_tokens``: of prompts to be scored, at most so many
    (each needs a row of logits).
    """

    def __init__(
        self,
        blocks: BlockManager,
        *,
        max_running: int = 64,
        step_tokens: int = 512,
        shared_tokens: int = 128,
        score_tokens: int = 64,
    ) -> None:
        self.blocks = blocks
        self.max_running = max_running
        self.step_tokens = max(step_tokens, max_running)
        self.shared_tokens = max(shared_tokens, max_running)
        self.score_tokens = score_tokens
        self.running: list[Request] = []  # in their order
        self.preemptions = 0
        self._heap: list[tuple[tuple[int, int], Request]] = []
        self._waiting: dict[int, Request] = {}  # by id: those of the heap that still wait
        self._followers = 0  # that wait for their fork

    @property
    def waiting(self) -> int:
        """Requests that wait, those that wait for their fork included."""
        return len(self._waiting) + self._followers

    @property
    def idle(self) -> bool:
        return not self.running and not self._waiting

    def requests(self) -> Iterator[Request]:
        """All that wait or run, in no order; without those that wait for their fork."""
        yield from self.running
        yield from self._waiting.values()

    def add(self, request: Request, followers: Sequence[Request] = ()) -> None:
        """It waits from now on; ``followers`` are to fork from it when its prompt is computed."""
        self._follow(request, followers)
        self._followers += len(followers)
        self._wait(request)

    def schedule(self) -> ScheduledBatch:
        """The next step. Blocks to write to are there for all of it; empty only if nobody waits or runs."""
        if not self._waiting and (entries := self._one_each()):
            return ScheduledBatch(entries, [])
        chosen: dict[int, Scheduled] = {}
        running = self.running
        pending = [request for request in running if len(request.tokens) - request.computed > 1]
        budget = self.shared_tokens if len(running) > len(pending) else self.step_tokens
        scores = self.score_tokens
        preempted = self.preemptions
        # Who misses one token goes first: nobody's next token waits for somebody's prompt.
        order = [r for r in running if len(r.tokens) - r.computed == 1] + pending if pending else list(running)
        for request in order:
            if budget <= 0 or not request.running or (scores <= 0 and request.scoring):
                continue
            entry = self._cut(request, budget, scores)
            while request.running and not self.blocks.grow(request.table, entry.start, entry.start + entry.size):
                victim = running[-1]
                self._preempt(victim)
                if (undone := chosen.pop(victim.request_id, None)) is not None:
                    budget += undone.size
                    scores += undone.scores
            if request.running:
                chosen[request.request_id] = entry
                budget -= entry.size
                scores -= entry.scores
        if preempted < self.preemptions:  # blocks are short: nobody begins, and nothing is computed on trust
            budget = 0
        elif self._waiting:
            budget -= self._admit(chosen, budget, scores)
        self._draft(chosen, budget)
        return ScheduledBatch(list(chosen.values()), self.blocks.take_copies())

    def _one_each(self) -> list[Scheduled]:
        """A token of each request, as nearly always; nothing where one asks for more, or for another block."""
        has_room = self.blocks.has_room
        entries = []
        for request in self.running:
            start = request.computed
            if len(request.tokens) - start != 1 or request.drafted or request.scoring:
                return []
            if not has_room(request.table, start):
                return []
            entries.append(Scheduled(request, start, 1, 0, 0, 1))
        return entries

    def computed(self, entry: Scheduled) -> None:
        """A step has computed this; the request may have been removed meanwhile."""
        request = entry.request
        if request.running:
            request.computed = entry.start + entry.size - entry.drafts
            self.blocks.register(request.table, request.tokens, request.computed)

    def has_room(self, request: Request, found: Sequence[int]) -> bool:
        """Whether all that a request knows fits beside all who run, given the blocks that it would find."""
        blocks = self.blocks
        owed = sum([max(0, blocks.blocks_for(len(r.tokens) + 1) - len(r.table.blocks)) for r in self.running])
        needed = blocks.blocks_for(len(request.tokens)) - len(found) + blocks.cost(found)
        return needed + owed <= blocks.available

    def fork(self, request: Request) -> list[Request]:
        """Its followers run, over the same blocks, as far as requests may run; the others wait and will find them."""
        followers, request.followers = request.followers, []
        self._followers -= len(followers)
        for follower in followers:
            follower.leader = None
            follower.admitted, follower.cached_tokens, follower.reuse = True, request.cached_tokens, request.reuse
            if request.running and len(self.running) < self.max_running:
                follower.table = self.blocks.fork(request.table)
                follower.computed = request.computed
                follower.running = True
                self._insert(follower)
            else:
                self._wait(follower)
        return followers

    def remove(self, request: Request) -> None:
        """It neither waits nor runs any more, and holds nothing. Its followers go on without it."""
        self._waiting.pop(request.request_id, None)
        if request.running:
            self.running.remove(request)
            self._stop(request)
        if request.leader is not None:
            request.leader.followers.remove(request)
            request.leader = None
            self._followers -= 1
        if request.followers:
            heir, *rest = request.followers
            request.followers, heir.leader = [], None
            heir.score_top = request.score_top
            self._follow(heir, rest)
            self._followers -= 1
            self._wait(heir)

    def reset(self) -> list[Request]:
        """Give everything up; those who were there."""
        left = [each for request in self.requests() for each in (request, *request.followers)]
        self.running.clear()
        self._waiting.clear()
        self._heap.clear()
        self._followers = 0
        self.blocks.clear()
        return left

    def purge(self, tag: str) -> int:
        """Nothing computed from text of ``tag`` is found from here on, nor kept later; how many blocks it was."""
        for request in self.requests():
            for each in (request, *request.followers):
                if any(owner.tag == tag for owner in each.table.owners):
                    each.table.private = True
        return self.blocks.purge(tag)

    def audit(self) -> str:
        """What is wrong with the accounts; empty if nothing."""
        if any(r.running or r.table.blocks for r in self._waiting.values()) or not all(r.running for r in self.running):
            return "a request waits and runs, or waits and holds blocks"
        return self.blocks.audit(request.table for request in self.running)

    def _admit(self, chosen: dict[int, Scheduled], budget: int, scores: int) -> int:
        """Let those who wait run, in order, while all their known tokens have room beside all who run already.

        How many tokens of theirs the step computes.
        """
        blocks, before = self.blocks, budget
        while self._waiting and budget > 0 and len(self.running) < self.max_running:
            request = self._heap[0][1]
            if self._waiting.get(request.request_id) is not request:
                heapq.heappop(self._heap)  # removed while it waited
                continue
            if request.scoring and scores <= 0:
                break
            found = blocks.find(request.table, request.tokens, request.reusable)
            if not self.has_room(request, found):
                break
            heapq.heappop(self._heap)
            del self._waiting[request.request_id]
            blocks.attach(request.table, found)
            request.computed = len(found) * blocks.block_size
            if not request.admitted:
                request.admitted, request.cached_tokens = True, request.computed
                request.reuse = self._reuse(request, len(found))
            request.running = True
            self._insert(request)
            entry = self._cut(request, budget, scores)
            blocks.grow(request.table, entry.start, entry.start + entry.size)
            chosen[request.request_id] = entry
            budget -= entry.size
            scores -= entry.scores
        return before - budget

    def _draft(self, chosen: dict[int, Scheduled], budget: int) -> None:
        """Compute drafts along with the last known tokens, as far as the step has room, and blocks to spare."""
        blocks = self.blocks
        for number, entry in chosen.items():
            request = entry.request
            count = min(len(request.drafted), budget) if entry.samples else 0
            end = entry.start + entry.size + count
            more = blocks.blocks_for(end) - len(request.table.blocks)
            if count <= 0 or (more > 0 and blocks.available - more < len(self.running)):  # others need one next
                request.drafted = []
                continue
            blocks.grow(request.table, entry.start, end)
            del request.drafted[count:]
            chosen[number] = entry._replace(size=entry.size + count, samples=1 + count)
            budget -= count

    def _reuse(self, request: Request, found: int) -> Reuse:
        cached, on_disk = request.computed, request.on_disk
        from_disk = max(0, min(cached, on_disk.stop) - on_disk.start)
        return Reuse(cached, from_disk, self.blocks.difference(request.table, request.tokens, found))

    def _cut(self, request: Request, budget: int, scores: int) -> Scheduled:
        """As much of what a request misses as the budgets allow."""
        start = request.computed
        count = min(len(request.tokens) - start, budget)
        if not request.scoring:
            return Scheduled(request, start, count, 0, 0, int(start + count == len(request.tokens)))
        first = max(start, len(request.prompt_logprobs) - 1)
        last = request.prompt_length - 1  # predicts no token of the prompt
        count = min(count, first + scores - start)
        end = start + count
        scored = max(0, min(end, last) - first)
        return Scheduled(request, start, count, first, scored, int(end == len(request.tokens)))

    def _follow(self, request: Request, followers: Sequence[Request]) -> None:
        request.followers = list(followers)
        for follower in followers:
            follower.leader = request

    def _wait(self, request: Request) -> None:
        self._waiting[request.request_id] = request
        heapq.heappush(self._heap, (request.order, request))
        if len(self._heap) > 2 * len(self._waiting) + 64:  # most of it are requests that left
            self._heap = [(each.order, each) for each in self._waiting.values()]
            heapq.heapify(self._heap)

    def _insert(self, request: Request) -> None:
        at = len(self.running)
        while at and self.running[at - 1].order > request.order:
            at -= 1
        self.running.insert(at, request)

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._stop(request)
        self._wait(request)
        self.preemptions += 1

    def _stop(self, request: Request) -> None:
        if request.drafted:
            request.drafted = []
        self.blocks.register(request.table, request.tokens, request.computed)  # drafts that came since the last step
        request.running = False
        request.computed = 0
        self.blocks.release(request.table)

"""Who holds which block of the KV cache. Plain accounting: no arrays, no model.

A block has room for the keys and values of ``block_size`` neighbouring tokens, in every layer. At any time it is one of

    free     its contents are worth nothing
    cached   no request holds it, but its contents can be found again; the one longest untouched is evicted first
    used     one or more requests hold it (its reference count)

and ``free + cached + used == total``. Requests that begin with the same tokens hold the same blocks (``prefix_cache``).
A request writes only into a block that it alone holds: a fork shares all blocks, and whoever first writes into the
last one, when it is not full, gets a copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from ownlm.engine.block_table import BlockTable
from ownlm.engine.prefix_cache import PrefixCache, block_tokens, extend_digests, nearest


class BlockManager:
    """Blocks 0 .. total - 1. For one thread.

    >>> manager = BlockManager(total=4, block_size=2)
    >>> table = BlockTable()
    >>> manager.grow(table, computed=0, target=5)
    True
    >>> manager.register(table, [7, 8, 9, 7, 8], computed=5)
    >>> manager.release(table)
    >>> manager.free, manager.cached, manager.used
    (2, 2, 0)
    """

    def __init__(self, total: int, block_size: int) -> None:
        self.total = total
        self.block_size = block_size
        self.evictions = 0
        self.elsewhere: Callable[[bytes], Iterable[bytes]] = lambda parent: ()
        """The tokens of blocks behind a digest that lie in another place than this cache (on disk)."""
        self.clear()

    def clear(self) -> None:
        """Everything is free and nothing is known, whoever thought to hold it."""
        self._free = list(range(self.total - 1, -1, -1))
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._references = [0] * self.total
        self._names = PrefixCache()
        self._copies: list[tuple[int, int]] = []

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def cached(self) -> int:
        return len(self._cached)

    @property
    def used(self) -> int:
        return self.total - len(self._free) - len(self._cached)

    @property
    def available(self) -> int:
        """Blocks that can be had: the free ones, and the cached ones by eviction."""
        return len(self._free) + len(self._cached)

    def blocks_for(self, tokens: int) -> int:
        """How many blocks so many tokens fill.

        >>> BlockManager(4, 16).blocks_for(17)
        2
        """
        return -(-tokens // self.block_size)

    def find(self, table: BlockTable, tokens: Sequence[int], limit: int) -> list[int]:
        """Blocks that hold the first of ``tokens`` already: whole ones, covering at most ``limit`` tokens."""
        if table.private:
            return []
        count = limit // self.block_size
        extend_digests(table.digests, tokens, count, self.block_size)
        found: list[int] = []
        for digest in table.digests[:count]:
            block = self._names.find(digest)
            if block is None:
                break
            found.append(block)
        return found

    def difference(self, table: BlockTable, tokens: Sequence[int], found: int) -> int | None:
        """The index of the first token that the nearest entry does not have there; ``found`` leading blocks are known.

        An entry is whatever was computed before and is still kept, here or ``elsewhere``. None: all tokens are there.
        """
        if table.private:
            return None
        size, full = self.block_size, len(tokens) // self.block_size
        for at in range(found, full + 1):
            extend_digests(table.digests, tokens, at, size)
            parent, rest = (table.digests[at - 1] if at else b""), tokens[at * size : (at + 1) * size]
            same = nearest(rest, chain(self._names.children(parent), self.elsewhere(parent)))
            if same < size:
                return at * size + same if at * size + same < len(tokens) else None
        return None

    def end(self, table: BlockTable, tokens: Sequence[int]) -> bytes:
        """A prompt is computed: the end of it that fills no block is remembered, for ``difference``, and returned.

        Not where it is of other owners than the block before it: nothing would tell when it must be forgotten.
        """
        size, full = self.block_size, len(tokens) // self.block_size
        if table.private or not 0 < full <= len(table.digests) or table.tags(len(tokens)) != table.tags(full * size):
            return b""
        tail = block_tokens(tokens, full, size)
        if tail:
            self._names.end(table.digests[full - 1], tail)
        return tail

    def named(self, digest: bytes) -> tuple[int, frozenset[str]] | None:
        """The block called so, and whose text it depends on; None if there is none."""
        block = self._names.find(digest)
        return None if block is None else (block, self._names.owners(block))

    def own(self, digest: bytes, tags: frozenset[str]) -> None:
        """The block called so depends on text of these owners too."""
        block = self._names.find(digest)
        if block is not None:
            self._names.own(block, tags)

    def tags(self) -> frozenset[str]:
        """The owners of all that can be found."""
        return self._names.tags()

    def cost(self, found: Iterable[int]) -> int:
        """How many of these blocks stop being available when they are taken."""
        return sum([not self._references[block] for block in found])

    def attach(self, table: BlockTable, found: Sequence[int]) -> None:
        """An empty table begins with blocks that ``find`` gave."""
        for index, block in enumerate(found):
            self._take(block)
            self._names.own(block, table.tags((index + 1) * self.block_size))
        table.blocks = list(found)
        table.registered = len(found)
        table.unchanged = 0

    def has_room(self, table: BlockTable, place: int) -> bool:
        """Whether token ``place`` can be written at once: its block is there, and nobody else's."""
        at, blocks = place // self.block_size, table.blocks
        return at < len(blocks) and self._references[blocks[at]] == 1

    def grow(self, table: BlockTable, computed: int, target: int) -> bool:
        """Make room to write tokens ``computed .. target - 1``; False, and nothing done, if blocks do not suffice."""
        blocks, size = table.blocks, self.block_size
        more = -(-target // size) - len(blocks)
        if more == 0 and computed // size == len(blocks) - 1 and self._references[blocks[-1]] == 1:
            return True  # as nearly always
        shared = [at for at in range(computed // size, len(blocks)) if self._references[blocks[at]] > 1]
        if more <= 0 and not shared:
            return True
        if max(more, 0) + len(shared) > self.available:
            return False
        for at in shared:
            old, blocks[at] = blocks[at], self._allocate()
            if at * size < computed:
                self._copies.append((old, blocks[at]))
            self._drop(old)
            table.registered = min(table.registered, at)
            table.unchanged = min(table.unchanged, at)
        for _ in range(more):
            blocks.append(self._allocate())
        return True

    def take_copies(self) -> list[tuple[int, int]]:
        """(from, to): contents to copy, in this order, before anything is written."""
        copies, self._copies = self._copies, []
        return copies

    def register(self, table: BlockTable, tokens: Sequence[int], computed: int) -> None:
        """The first ``computed`` of ``tokens`` are in the cache: their full blocks can be found from here on.

        Where another block holds the same contents, the table takes that one and gives its own back.
        """
        full = computed // self.block_size
        if table.registered >= full or table.private:
            return
        extend_digests(table.digests, tokens, full, self.block_size)
        for at in range(table.registered, full):
            block = table.blocks[at]
            parent = table.digests[at - 1] if at else b""
            twin = self._names.name(table.digests[at], block, parent, block_tokens(tokens, at, self.block_size))
            if twin != block:
                self._take(twin)
                self._drop(block)
                table.blocks[at] = twin
                table.unchanged = min(table.unchanged, at)
            self._names.own(twin, table.tags((at + 1) * self.block_size))
        table.registered = full

    def fork(self, table: BlockTable) -> BlockTable:
        """A second table over the same blocks."""
        twin = BlockTable(table.owners)
        twin.blocks, twin.digests = list(table.blocks), list(table.digests)
        twin.registered, twin.private = table.registered, table.private
        for block in twin.blocks:
            self._references[block] += 1
        return twin

    def release(self, table: BlockTable) -> None:
        """The request lets go of everything; the last block first, so that eviction eats a prefix from its end."""
        blocks, table.blocks = table.blocks, []
        for block in reversed(blocks):
            self._drop(block)

    def purge(self, tag: str) -> int:
        """Nothing that the tag owns is found from here on; how many blocks that concerned.

        Tables that go on with the tag's text must be made ``private``, or their next blocks would be kept.
        """
        owned = self._names.owned_by(tag)
        for block in owned:
            self._names.forget(block)
            if not self._references[block]:
                del self._cached[block]
                self._free.append(block)
        return len(owned)

    def audit(self, tables: Iterable[BlockTable] = ()) -> str:
        """What is wrong with the accounts, given every table that holds blocks; empty if nothing."""
        held = [0] * self.total
        for table in tables:
            for block in table.blocks:
                held[block] += 1
        wrong = [block for block in range(self.total) if held[block] != self._references[block]]
        if wrong:
            return f"{len(wrong)} blocks, such as {wrong[0]}, are not held as often as they are counted"
        used = [block for block, count in enumerate(held) if count]
        if sorted([*self._free, *self._cached, *used]) != list(range(self.total)):
            return f"{len(self._free)} free + {len(self._cached)} cached + {len(used)} used != {self.total} in all"
        if any(block in self._names for block in self._free) or any(block not in self._names for block in self._cached):
            return "a free block has a name, or a cached one has none"
        return self._names.audit()

    def _allocate(self) -> int:
        """A block for one holder; ``available`` must not be 0."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._cached.popitem(last=False)
            self._names.forget(block)
            self.evictions += 1
        self._references[block] = 1
        return block

    def _take(self, block: int) -> None:
        if not self._references[block]:
            del self._cached[block]
        self._references[block] += 1

    def _drop(self, block: int) -> None:
        self._references[block] -= 1
        if self._references[block]:
            return
        if block in self._names:
            self._cached[block] = None
            return
        self._free.append(block)
        if self._copies:  # into a block of a request that is gone again
            self._copies = [pair for pair in self._copies if pair[1] != block]

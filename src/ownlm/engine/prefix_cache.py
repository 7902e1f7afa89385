"""What full blocks contain: a name for each, from which the block is found again.

Keys and values of a token depend on every token before it, so a name is a digest chained over the prefix:

    tokens   a b c d | e f g h | i j
    digest   d0 = H(abcd)  d1 = H(d0, efgh)   (not full: no name)

The digest is cryptographic (BLAKE2b): nobody can make a prompt that is taken for another one, and names stay valid
across processes. A block also carries owner tags, of the documents whose text it or its prefix was computed from.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain, takewhile
from typing import NamedTuple

DIGEST_BYTES = 16
_NOBODY: frozenset[str] = frozenset()
_TAILS = 4  # ends of prompts that are remembered behind one block


def extend_digests(digests: list[bytes], tokens: Sequence[int], count: int, size: int) -> None:
    """Append the names of further full blocks of ``tokens`` until there are ``count``.

    >>> one: list[bytes] = []
    >>> extend_digests(one, [1, 2, 3, 4], 2, size=2)
    >>> other: list[bytes] = []
    >>> extend_digests(other, [9, 2, 3, 4], 2, size=2)
    >>> one[1] == other[1]
    False
    """
    digest = digests[-1] if digests else b""
    for index in range(len(digests), count):
        data = array("i", tokens[index * size : (index + 1) * size]).tobytes()
        digest = blake2b(digest + data, digest_size=DIGEST_BYTES).digest()
        digests.append(digest)


def block_tokens(tokens: Sequence[int], index: int, size: int) -> bytes:
    """The tokens of a full block, as digests and entries hold them: int32 in this machine's order."""
    return array("i", tokens[index * size : (index + 1) * size]).tobytes()


def nearest(tokens: Sequence[int], entries: Iterable[bytes]) -> int:
    """With how many of ``tokens`` the entry begins that has most of them, of blocks as ``block_tokens`` gives them.

    >>> nearest([5, 6, 7], [array("i", [5, 6, 8, 9]).tobytes(), array("i", [4, 6, 7, 9]).tobytes()])
    2
    """
    most, begin = 0, array("i", tokens[:1]).tobytes()
    for entry in entries:
        if entry.startswith(begin):  # of many entries few go on alike
            pairs = zip(tokens, memoryview(entry).cast("i"), strict=False)
            most = max(most, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return most


class Reuse(NamedTuple):
    """What of a prompt was computed already: so many tokens, of these so many read from disk.

    ``difference``: the index of its first token that the nearest entry, of all in memory and on disk, does not have
    there; None if that entry has them all.
    """

    cached: int = 0
    from_disk: int = 0
    difference: int | None = None


class PrefixCache:
    """Names and owners of blocks, both ways. Only blocks with a name have owners.

    Each name keeps its tokens under the name before it: who meets no block with their own next tokens can see where
    they part from those that are there.
    """

    def __init__(self) -> None:
        self._after: dict[bytes, dict[bytes, bytes]] = {}  # digest -> digest of a next block -> that one's tokens
        self._before: dict[bytes, bytes] = {}
        self._tails: dict[bytes, deque[bytes]] = {}  # tokens of prompts' ends that fill no block
        self._blocks: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}
        self._owners: dict[int, frozenset[str]] = {}

    def __contains__(self, block: int) -> bool:
        return block in self._digests

    def find(self, digest: bytes) -> int | None:
        return self._blocks.get(digest)

    def name(self, digest: bytes, block: int, parent: bytes, tokens: bytes) -> int:
        """Give a block its name, the tokens ``tokens`` behind ``parent``; the block that has it already, if one has."""
        known = self._blocks.setdefault(digest, block)
        if known == block:
            self._digests[block] = digest
            self._before[digest] = parent
            self._after.setdefault(parent, {})[digest] = tokens
        return known

    def children(self, parent: bytes) -> Iterable[bytes]:
        """The tokens of each block that follows the block called ``parent`` (empty: of each first block), and of
        prompts that ended before they filled one."""
        return chain(self._after.get(parent, {}).values(), self._tails.get(parent, ()))

    def end(self, digest: bytes, tokens: bytes) -> None:
        """A prompt goes on for so many tokens behind the block called so, and ends there."""
        if digest in self._blocks:
            self._tails.setdefault(digest, deque(maxlen=_TAILS)).append(tokens)

    def owners(self, block: int) -> frozenset[str]:
        """Whose text a block depends on."""
        return self._owners.get(block, _NOBODY)

    def tags(self) -> frozenset[str]:
        """All owners of anything."""
        return _NOBODY.union(*self._owners.values())

    def own(self, block: int, tags: frozenset[str]) -> None:
        """Add owners to a named block."""
        if tags:
            self._owners[block] = self._owners.get(block, _NOBODY) | tags

    def owned_by(self, tag: str) -> list[int]:
        return [block for block, tags in self._owners.items() if tag in tags]

    def forget(self, block: int) -> None:
        digest = self._digests.pop(block, None)
        if digest is not None:
            del self._blocks[digest]
            self._owners.pop(block, None)
            self._tails.pop(digest, None)
            parent = self._before.pop(digest)
            del self._after[parent][digest]
            if not self._after[parent]:
                del self._after[parent]

    def audit(self) -> str:
        """What is wrong; empty if nothing."""
        if {block: digest for digest, block in self._blocks.items()} != self._digests:
            return "a block is not found by its name"
        if not self._owners.keys() <= self._digests.keys():
            return "an owner is left of a block that is gone"
        if {digest for after in self._after.values() for digest in after} != self._blocks.keys():
            return "a block's tokens are missing, or left of one that is gone"
        if not self._tails.keys() <= self._blocks.keys():
            return "a prompt's end is left behind a block that is gone"
        return ""

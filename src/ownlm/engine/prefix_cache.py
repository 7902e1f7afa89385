"""What full blocks contain: a name for each, from which the block is found again.

Keys and values of a token depend on every token before it, so a name is a digest chained over the prefix:

    tokens   a b c d | e f g h | i j
    digest   d0 = H(abcd)  d1 = H(d0, efgh)   (not full: no name)

The digest is cryptographic (BLAKE2b): nobody can make a prompt that is taken for another one, and names stay valid
across processes. A block also carries owner tags, of the documents whose text it or its prefix was computed from.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b

DIGEST_BYTES = 16
_NOBODY: frozenset[str] = frozenset()


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


class PrefixCache:
    """Names and owners of blocks, both ways. Only blocks with a name have owners."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}
        self._owners: dict[int, frozenset[str]] = {}

    def __contains__(self, block: int) -> bool:
        return block in self._digests

    def find(self, digest: bytes) -> int | None:
        return self._blocks.get(digest)

    def name(self, digest: bytes, block: int) -> int:
        """Give a block its name; the block that has it already, if there is one."""
        known = self._blocks.setdefault(digest, block)
        if known == block:
            self._digests[block] = digest
        return known

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

    def audit(self) -> str:
        """What is wrong; empty if nothing."""
        if {block: digest for digest, block in self._blocks.items()} != self._digests:
            return "a block is not found by its name"
        if not self._owners.keys() <= self._digests.keys():
            return "an owner is left of a block that is gone"
        return ""

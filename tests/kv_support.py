"""Blocks whose bytes follow from their names, so that a wrong one is seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.kv_segment import Block
from ownlm.engine.prefix_cache import block_tokens, extend_digests
from ownlm.engine.prefix_store import PrefixStore

BYTES, SIZE = 3000, 4


def chain(tokens: Sequence[int]) -> list[Block]:
    """The full blocks of a text."""
    digests: list[bytes] = []
    count = len(tokens) // SIZE
    extend_digests(digests, tokens, count, SIZE)
    return [Block(digests[at], digests[at - 1] if at else b"", block_tokens(tokens, at, SIZE)) for at in range(count)]


def contents(blocks: Sequence[Block]) -> NDArray[np.uint8]:
    """What the store is to give back for them."""
    seeds = [int.from_bytes(block.digest[:8], "little") for block in blocks]
    return np.stack([np.random.default_rng(seed).integers(0, 256, BYTES, np.uint8) for seed in seeds])


def keep(store: PrefixStore, tokens: Sequence[int], *tags: str, start: int = 0, now: int | None = None) -> bool:
    blocks = chain(tokens)[start:]
    return store.put(blocks, contents(blocks), tags, now)


def held(store: PrefixStore, tokens: Sequence[int]) -> int:
    """How many of a text's blocks the store gives, each checked."""
    blocks = chain(tokens)
    found = store.find([block.digest for block in blocks])
    runs = [*store.read([block.digest for block in blocks[:found]])]
    count = sum(len(run) for run in runs)
    if count:
        assert (np.concatenate(runs) == contents(blocks[:count])).all(), "a block holds what it never held"
    return count


def every_byte(root: Path) -> bytes:
    return b"".join(path.name.encode() + path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())

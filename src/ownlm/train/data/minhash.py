"""MinHash signatures of documents, in NumPy over bytes: how alike two texts are, without comparing them.

A text is the set of its runs of five words, in lower case, without punctuation; a character of three bytes or more
(Chinese, Japanese, Korean ...) is a word. The share of equal places of two signatures estimates the Jaccard similarity
of the two sets. Broder 1997; one permutation, Li et al. 2012, https://arxiv.org/abs/1208.1259; empty places filled as
in Shrivastava 2017, https://arxiv.org/abs/1703.04664. One hash per run instead of 128: cost is that of reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

PLACES = 128
"""Places of a signature."""
BANDS, ROWS = 21, 6
"""Two documents are compared if all places of one band agree: at similarity 0.8 in 99.8 % of the cases."""
WORDS = 5
BLOCK = 1 << 20
"""Bytes hashed at once. Of a longer text the runs across two blocks are not seen: some of a hundred thousand."""

_EMPTY = np.uint32(0xFFFFFFFF)
_BASE = 0x9E3779B97F4A7C15
_FACTORS = np.array([0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63,
                     0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53], np.uint64)  # fmt: skip


def mix(values: U64) -> U64:
    """A bijection in which every bit depends on every bit (the end of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: U64 = values ^ (values >> np.uint64(31))
    return found


def signatures(texts: Sequence[bytes]) -> U32:
    """The signature of each UTF-8 text, ``[texts, PLACES]``. Equal sets of runs give equal signatures."""
    table = np.full((len(texts), PLACES), _EMPTY, np.uint32)
    flat = table.reshape(-1)
    for data, owners, bounds in _blocks(texts):
        hashes, part = _runs(data, bounds)
        place = owners[part] * PLACES + (hashes >> np.uint64(57)).astype(np.int64)
        np.minimum.at(flat, place, ((hashes >> np.uint64(25)) & np.uint64(0xFFFFFFFE)).astype(np.uint32))
    for row in np.flatnonzero((table == _EMPTY).all(axis=1)).tolist():  # no word in it: like itself alone
        digest = hashlib.blake2b(texts[row], digest_size=4 * PLACES // 8).digest() * 8
        table[row] = np.frombuffer(digest, "<u4")
    _fill(table)
    return table


def bands(signature: U32) -> U64:
    """A hash of each band, ``[BANDS, documents]``: equal where all places of the band are."""
    rows = signature[:, : BANDS * ROWS].astype(np.uint64).reshape(-1, BANDS, ROWS)
    found: U64 = np.ascontiguousarray(mix((rows * _FACTORS[:ROWS]).sum(axis=2, dtype=np.uint64)).T)
    return found


def _classes() -> U8:
    """Bytes as words have them: ASCII letters in lower case, digits, bytes of other characters; 0 ends a word."""
    found = np.zeros(256, np.uint8)
    for byte in range(128):
        if chr(byte).isalnum():
            found[byte] = ord(chr(byte).lower())
    found[128:] = np.arange(128, 256)
    return found


def _powers() -> tuple[U64, U64]:
    """Powers of an odd number and of its inverse, modulo 2^64, for every place of a block."""
    tables = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        table = np.full(2 * BLOCK + 8, base, np.uint64)
        table[0] = 1
        tables.append(np.multiply.accumulate(table))
    return tables[0], tables[1]


_CLASS = _classes()
_TABLES: list[Any] = []


def _blocks(texts: Sequence[bytes]) -> Iterator[tuple[U8, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(bytes, which text each part is of, where each part starts and the last ends), about BLOCK bytes at a time."""
    parts: list[bytes] = []
    owners: list[int] = []
    size = 0
    for owner, text in enumerate(texts):
        for start in range(0, len(text), BLOCK):
            parts.append(text[start : start + BLOCK])
            owners.append(owner)
            size += len(parts[-1]) + 3
            if size >= BLOCK:
                yield _joined(parts, owners)
                parts, owners, size = [], [], 0
    if parts:
        yield _joined(parts, owners)


def _joined(parts: list[bytes], owners: list[int]) -> tuple[U8, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    data = np.frombuffer(b"\n\n\n".join([*parts, b""]), np.uint8)
    bounds = np.cumsum([0, *(len(part) + 3 for part in parts)])
    return data, np.array(owners, np.int64), bounds


def _runs(data: U8, bounds: npt.NDArray[np.int64]) -> tuple[U64, npt.NDArray[np.int64]]:
    """The hash of each run of words, and the part it is in. A part of fewer words is one run."""
    words, counts = _words(data, bounds)
    if not len(words):
        return words, np.empty(0, np.int64)
    first = np.cumsum(counts) - counts
    part = np.repeat(np.arange(len(counts)), counts)
    padded = np.append(words, np.zeros(WORDS - 1, np.uint64))
    runs = np.zeros(len(words), np.uint64)
    for step in range(WORDS):
        runs += padded[step : step + len(words)] * _FACTORS[step]
    whole = np.zeros(len(words), bool)  # runs that end in the part they start in
    many = max(0, len(words) - WORDS + 1)
    whole[:many] = part[:many] == part[WORDS - 1 :]
    short = np.flatnonzero((counts > 0) & (counts < WORDS))
    if len(short):
        at = first[short]
        runs[at] = 0
        for step in range(WORDS - 1):
            inside = counts[short] > step
            runs[at[inside]] += words[at[inside] + step] * _FACTORS[step]
        whole[at] = True
    return mix(runs[whole]), part[whole]


def _words(data: U8, bounds: npt.NDArray[np.int64]) -> tuple[U64, npt.NDArray[np.int64]]:
    """The hash of each word in order, and how many each part has."""
    if not _TABLES:
        _TABLES.extend(_powers())
    powers, inverses = _TABLES
    letters = _CLASS[data]
    marks = np.flatnonzero(data == 0xE2)  # U+2000 to U+2FFF: punctuation, arrows, mathematics, boxes
    for step in range(3):
        letters[np.minimum(marks + step, len(letters) - 1)] = 0
    wide = letters >= 0xE3
    inside = letters != 0
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    begin = np.flatnonzero(starts | wide)
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(letters * powers[: len(data)], out=sums[1:])
    # A word's bytes up to the next word's: between them are zeros only. Divided by the power of its place.
    words = np.diff(sums[np.append(begin, len(data))]) * inverses[begin]
    return mix(words), np.diff(np.searchsorted(begin, bounds))


def _orders() -> npt.NDArray[np.int64]:
    """For each place the others in an order of its own: where an empty one looks for a value."""
    keys = mix(np.arange(1, PLACES * PLACES + 1, dtype=np.uint64)).reshape(PLACES, PLACES)
    return np.argsort(keys, axis=1, kind="stable")


_ORDER = _orders()


def _fill(table: U32) -> None:
    """Give each empty place the value of the first full one in its order."""
    full = table != _EMPTY
    row, place = np.nonzero(~full)
    for step in range(PLACES):
        if not len(row):
            return
        source = _ORDER[place, step]
        found = full[row, source]
        table[row[found], place[found]] = table[row[found], source[found]]
        row, place = row[~found], place[~found]

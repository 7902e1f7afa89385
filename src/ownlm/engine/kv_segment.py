"""One file of KV blocks: written once, then mapped by whoever reads it, until it is removed whole.

    head     magic, number of blocks, tokens and bytes of a block, length of the owners, CRC-32 of all up to the data
    table    a row a block: its digest, the digest before it, a checksum of its data, its token ids
    owners   JSON: the tags whose text every block depends on, and how the prompt went on behind the last one
    ...      up to a multiple of 4096 bytes
    data     the blocks, one behind the other

All numbers are little-endian. A file says everything about itself, so there is no index to keep in step.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Collection, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

MAGIC = b"ownlmkv1"
_HEAD = struct.Struct("<8sIIQII")
_FIXED = 16 + 16 + 8  # of a table's row: two digests and a checksum
_PAGE = 4096
_MOST = 1 << 28  # bytes of a head: what is above is damage


class DamagedSegment(Exception):
    """Bytes of a segment are missing or altered. Never shown: what it held is computed again."""


class Block(NamedTuple):
    """A block's name, the name of the block before it (empty: none), and its tokens as int32."""

    digest: bytes
    parent: bytes
    tokens: bytes


def checksum(data: Bytes) -> int:
    """64 bits of a block's bytes, faster than memory gives them.

    Column sums say which bytes there are, row parities where they stand: any single change of whatever length shows in
    one or the other. Both are then hashed.
    """
    import numpy as np

    whole = len(data) // 2048 * 2048
    words = data[:whole].view(np.uint64).reshape(-1, 256)
    sums = np.add.reduce(words, axis=0, dtype=np.uint64)
    parities = np.bitwise_xor.reduce(words, axis=1)
    found = blake2b(sums.tobytes() + parities.tobytes() + data[whole:].tobytes(), digest_size=8).digest()
    return int.from_bytes(found, "little")


def write(file: IO[bytes], blocks: Sequence[Block], data: Bytes, tags: Collection[str], tail: bytes = b"") -> int:
    """Write a segment of ``blocks`` [N], whose contents are uint8 [N, bytes]; its size.

    ``tail``: int32 tokens behind the last block, with which a prompt ended.
    """
    tokens = len(blocks[0].tokens)
    owners = json.dumps({"tags": sorted(tags), "tail": tail.hex()}).encode()
    table = b"".join(
        block.digest + block.parent.ljust(16, b"\0") + checksum(each).to_bytes(8, "little") + block.tokens
        for block, each in zip(blocks, data, strict=True)
    )
    facts = (MAGIC, len(blocks), tokens // 4, data.shape[1], len(owners))
    crc = zlib.crc32(owners, zlib.crc32(table, zlib.crc32(_HEAD.pack(*facts, 0))))
    start = _data_start(len(table) + len(owners))
    file.write((_HEAD.pack(*facts, crc) + table + owners).ljust(start, b"\0"))
    file.write(data.data.cast("B"))
    return start + data.nbytes


def size(blocks: int, block_tokens: int, block_bytes: int) -> int:
    """About how large a segment is: its owners are not counted."""
    return _data_start(blocks * (_FIXED + 4 * block_tokens)) + blocks * block_bytes


class Segment:
    """A segment that was opened: what it holds, in memory; the data stays in the file."""

    __slots__ = ("block_bytes", "blocks", "checks", "path", "start", "tags", "tail", "touched")

    def __init__(self, path: Path) -> None:
        """Raises DamagedSegment, or OSError where there is none."""
        head, table, owners, length = _read(path)
        _, count, tokens, self.block_bytes, _, _ = head
        self.path, self.touched = path, 0.0
        self.start = _data_start(len(table) + len(owners))
        if length != self.start + count * self.block_bytes:
            raise DamagedSegment(f"{path.name} has {length} bytes")
        row = _FIXED + 4 * tokens
        rows = [table[at : at + row] for at in range(0, len(table), row)]
        self.blocks = [Block(r[:16], b"" if r[16:32] == bytes(16) else r[16:32], r[_FIXED:]) for r in rows]
        self.checks = [int.from_bytes(r[32:40], "little") for r in rows]
        self.tags, self.tail = _stated(path, owners)

    def data(self, first: int, count: int) -> Bytes:
        """uint8 [count, bytes]: blocks from ``first`` on, mapped. They stay valid when the file is removed.

        Raises OSError where the file is gone.
        """
        import numpy as np

        begin = self.start + first * self.block_bytes
        offset = begin // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        length = begin - offset + count * self.block_bytes
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < offset + length:
                raise OSError(f"{self.path.name} was cut")
            if hasattr(mmap, "MAP_POPULATE"):  # all pages in one call, not a fault each
                flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
                mapped = mmap.mmap(file.fileno(), length, flags, mmap.PROT_READ, offset=offset)
            else:
                mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=offset)
        found = np.frombuffer(mapped, np.uint8, count * self.block_bytes, begin - offset)
        return found.reshape(count, self.block_bytes)


def read_tags(path: Path) -> frozenset[str]:
    """Whose text a segment depends on. Raises DamagedSegment, OSError."""
    return _stated(path, _read(path)[2])[0]


def _read(path: Path) -> tuple[tuple[bytes, int, int, int, int, int], bytes, bytes, int]:
    """(head, table, owners, the file's length) of a segment whose head is whole."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        raw = file.read(_HEAD.size)
        if len(raw) < _HEAD.size or not raw.startswith(MAGIC):
            raise DamagedSegment(f"{path.name} is no segment")
        magic, count, tokens, block_bytes, owners_bytes, crc = _HEAD.unpack(raw)
        table_bytes = count * (_FIXED + 4 * tokens)
        if table_bytes + owners_bytes > min(_MOST, length):
            raise DamagedSegment(f"{path.name} has a damaged head")
        rest = file.read(table_bytes + owners_bytes)
    if zlib.crc32(rest, zlib.crc32(_HEAD.pack(magic, count, tokens, block_bytes, owners_bytes, 0))) != crc:
        raise DamagedSegment(f"{path.name} has a damaged head")
    return (magic, count, tokens, block_bytes, owners_bytes, crc), rest[:table_bytes], rest[table_bytes:], length


def _stated(path: Path, owners: bytes) -> tuple[frozenset[str], bytes]:
    """(tags, tail)."""
    try:
        stated = json.loads(owners)
        return frozenset[str](stated["tags"]), bytes.fromhex(stated["tail"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedSegment(f"{path.name} states no owners") from error


def _data_start(rest: int) -> int:
    return -(-(_HEAD.size + rest) // _PAGE) * _PAGE

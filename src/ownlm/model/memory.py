"""Exact bytes of a model's weights and KV cache, what this machine has left, and the refusal of what does not fit.

Everything here reads the config and the file's header alone: a model is refused before its weights are touched.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import InvalidSetting
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.safetensors import Tensor

BLOCK_SIZE = 16  # tokens of a block of the paged cache
CACHE_FORMATS = {"native": "bf16", "cuda": "bf16", "torch": "f32"}
"""What each side of ``ops`` keeps keys and values as where nobody says."""
RESERVE = 256 << 20  # bytes for Python, the tokenizer, and the activations of a step
GPU_RESERVE = 1 << 30  # bytes for the activations of a step, graphs, and the workspaces of libraries
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.stat")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.stat"),
    ),
)
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class KVShape:
    """What the paged cache keeps of a token: in each of ``layers``, ``heads`` keys and values of ``size``.

    A window limits what a layer reads, not what it keeps: one table of blocks serves all layers.
    """

    layers: int
    heads: int
    size: int

    @classmethod
    def of(cls, config: DecoderConfig) -> KVShape:
        """What ``Ops.kv_cache`` is asked for."""
        return cls(config.num_hidden_layers, config.num_key_value_heads, config.head_dim)

    def bytes(
        self, context: int, sequences: int = 1, *, cache_format: str = "bf16", block_size: int = BLOCK_SIZE
    ) -> int:
        """Bytes of the cache for ``sequences`` of ``context`` tokens each, in whole blocks.

        >>> KVShape(2, 2, 64).bytes(1000) == 2 * 2 * 2 * 64 * 2 * 1008
        True
        """
        whole = -(-context // block_size) * block_size
        return sequences * whole * self.layers * self.heads * _head_bytes(cache_format, self.size)


def _head_bytes(cache_format: str, size: int) -> int:
    """A token's key and value of one head: the native side keeps values in sixteens, and with 8 or 4 bits two scales,
    keys in fours or eights, and values of 4 bits in pairs of sixteens."""
    if cache_format in ("f32", "bf16"):
        return (4 if cache_format == "f32" else 2) * (size + _whole(size, 16))
    if cache_format == "int8":
        return 4 + _whole(size, 4) + _whole(size, 16)
    if cache_format == "int4":
        return 4 + _whole(size, 8) // 2 + _whole(size, 32) // 2
    raise InvalidSetting("kv_format", cache_format, "give bf16, int8, int4 or f32")


def _whole(count: int, of: int) -> int:
    return -(-count // of) * of


def weight_bytes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Bytes by format as they are stored, which is as they are mapped; the largest first."""
    found: Counter[str] = Counter()
    for tensor in tensors.values():
        found[tensor.format or tensor.dtype.lower()] += tensor.array.nbytes
    return dict(found.most_common())


def parameters(tensors: Mapping[str, Tensor]) -> int:
    """How many weights there are, each counted once however it is stored."""
    total = 0
    for tensor in tensors.values():
        count = 1
        for size in tensor.weights_shape:
            count *= size
        total += count
    return total


def available() -> int:
    """Bytes that a new allocation can have: what the kernel says, and what the container's limit leaves."""
    found = [_system()]
    for limit, usage, stat in _CGROUPS:
        top, used = _number(limit), _number(usage)
        if top is not None and used is not None:
            # Cached pages of files count as used, and are given up when memory is asked for.
            found.append(max(0, top - used + _field(stat, "inactive_file")))
    return min(found)


def check(
    name: str | Path,
    weights: int,
    cache: int,
    context: int,
    *,
    there: int | None = None,
    reserve: int = RESERVE,
    where: str = "",
) -> None:
    """Raise InvalidSetting with both numbers unless weights and cache, in bytes, fit into memory (or ``there`` bytes,
    which are ``where``).
    """
    there = available() if there is None else there
    needed = weights + cache + reserve
    if needed <= there:
        return
    smaller = "a smaller context or " if weights + reserve < there else ""
    raise InvalidSetting(
        "model",
        str(name),
        f"it needs {needed / 1e9:.2f} GB (weights {weights / 1e9:.2f}, cache for {context} tokens {cache / 1e9:.2f}, "
        f"work {reserve / 1e9:.2f}) and {there / 1e9:.2f} GB of memory are available"
        f"{where and ' ' + where}: choose {smaller}a smaller model or format",
    )


def _system() -> int:
    if (free := _field(_MEMINFO, "MemAvailable:")) > 0:
        return free * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 62  # unknown here: nothing is refused


def _number(path: Path) -> int | None:
    try:
        value = int(path.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None
    return value if value < 1 << 60 else None


def _field(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)

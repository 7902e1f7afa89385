"""What this machine can do at most, measured in a second or two: the limits that a model's speed is held against."""

from __future__ import annotations

import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ownlm.errors import InvalidSetting
from ownlm.native import _load, isa, threads

_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_LEAST_BUFFER, _MOST_BUFFER = 256 << 20, 2 << 30
_CACHES = 8  # the buffer is so many times the largest cache
_FIRST_ROUNDS = 64


@dataclass(frozen=True, slots=True)
class Machine:
    """Medians over short repetitions, with all ``threads`` together.

    ``bandwidth``: bytes a second read from memory. ``int8_ops``, ``bf16_ops``, ``f32_ops``: operations a second of the
    dot products and multiply-adds of the instruction set in use, a multiplication and an addition counted as two;
    ``bf16_ops`` is None where it has none.
    """

    processor: str
    isa: str
    threads: int
    bandwidth: float
    int8_ops: float
    f32_ops: float
    bf16_ops: float | None = None


def measure(seconds: float = 0.5, *, buffer_bytes: int | None = None) -> Machine:
    """Measure with the threads and the instruction set that are set, about ``seconds`` for each of the four figures.

    ``buffer_bytes`` are read from; by default 8 times the largest cache, 256 MiB at least. Raises InvalidSetting.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InvalidSetting("seconds", seconds, "give a time above 0")
    int8, f32 = products("int8", seconds), products("f32", seconds)
    assert int8 is not None and f32 is not None  # every instruction set has these
    return Machine(
        processor=processor(),
        isa=isa(),
        threads=threads(),
        bandwidth=bandwidth(seconds, buffer_bytes),
        int8_ops=int8,
        f32_ops=f32,
        bf16_ops=products("bf16", seconds),
    )


def bandwidth(seconds: float = 0.5, buffer_bytes: int | None = None) -> float:
    """Bytes a second that all threads together read from a buffer which no cache holds."""
    size = buffer_bytes or min(_MOST_BUFFER, max(_LEAST_BUFFER, _CACHES * largest_cache()))
    buffer = np.ones(size, np.uint8)  # ones: untouched pages would all be the same page of zeros
    kernels = _load()
    kernels.probe_read(buffer)
    rates: list[float] = []
    _repeat(seconds, lambda: rates.append(size / kernels.probe_read(buffer)))
    return statistics.median(rates)


def products(kind: str, seconds: float = 0.5) -> float | None:
    """Operations a second of "int8", "bf16" or "f32"; None where the instruction set has no such instruction."""
    kernels = _load()
    operations, took = kernels.probe_products(kind, _FIRST_ROUNDS)  # wakes the clock, too
    if not operations:
        return None
    rounds = max(1, int(_FIRST_ROUNDS * seconds / 10 / max(took, 1e-6)))
    rates: list[float] = []

    def once() -> None:
        operations, took = kernels.probe_products(kind, rounds)
        rates.append(operations / took)

    _repeat(seconds, once)
    return statistics.median(rates)


def _repeat(seconds: float, once: Callable[[], None]) -> None:
    """At least three times, then until ``seconds`` are over."""
    end = time.perf_counter() + seconds
    count = 0
    while count < 3 or time.perf_counter() < end:
        once()
        count += 1


def largest_cache(root: Path = _CACHE) -> int:
    """Bytes of the largest cache of the first processor, 0 where nobody tells (Linux: sysfs)."""
    sizes = [0]
    for path in root.glob("index*/size"):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        number, unit = text.rstrip("KMG"), text[-1:]
        if number.isdigit():
            sizes.append(int(number) << {"K": 10, "M": 20, "G": 30}.get(unit, 0))
    return max(sizes)


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name for itself, or its architecture where it has none."""
    if sys.platform.startswith("linux"):
        try:
            lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"

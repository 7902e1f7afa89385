"""Joules that a piece of work took: from the processor's own counters where the machine has and shows them.

Linux shows them under powercap (Intel's RAPL, and AMD's by the same driver) and, for some AMD drivers, under hwmon.
They are of whole packages: what else the machine does is in them. Reading them may need the right to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ownlm.errors import InvalidSetting

_SYS = Path("/sys/class")


@dataclass(frozen=True, slots=True)
class _Counter:
    """One counter of microjoules, which begins anew after ``most``."""

    path: Path
    most: int | None

    def read(self) -> int:
        return int(self.path.read_text())


@dataclass(slots=True)
class Meter:
    """Says how many joules went by between two calls of ``joules``. ``source`` names where that comes from."""

    source: str
    _counters: tuple[_Counter, ...] = ()
    _watts: float | None = None
    _clock: Callable[[], float] = time.perf_counter
    _last: list[int] = field(default_factory=list)
    _total: float = 0.0
    _began: float = 0.0

    def joules(self) -> float:
        """Joules since the meter was made."""
        if self._watts is not None:
            return self._watts * (self._clock() - self._began)
        for at, counter in enumerate(self._counters):
            now = counter.read()
            spent = now - self._last[at]
            if spent < 0:
                spent += counter.most or 0
            self._last[at] = now
            self._total += max(0, spent) / 1e6
        return self._total


def meter(
    watts: float | None = None, root: Path = _SYS, clock: Callable[[], float] = time.perf_counter
) -> Meter | None:
    """One by ``watts`` that the user states for the whole machine, else by its counters; None where neither is there.

    Raises InvalidSetting for watts that are none.
    """
    if watts is not None:
        if not (math.isfinite(watts) and watts > 0):
            raise InvalidSetting("--power", watts, "give what the machine takes while it computes, in watts, above 0")
        return Meter(f"{watts:g} W as stated", _watts=watts, _clock=clock, _began=clock())
    for source, counters in (("RAPL", _powercap(root / "powercap")), ("hwmon", _hwmon(root / "hwmon"))):
        if counters:
            return Meter(source, tuple(counters), _clock=clock, _last=[counter.read() for counter in counters])
    return None


def _powercap(folder: Path) -> list[_Counter]:
    """Of each package, not of its parts, which are in it."""
    found = []
    for zone in sorted(folder.glob("intel-rapl:*")):
        if _text(zone / "name").startswith("package") and _number(zone / "energy_uj") is not None:
            found.append(_Counter(zone / "energy_uj", _number(zone / "max_energy_range_uj")))
    return found


def _hwmon(folder: Path) -> list[_Counter]:
    """Sockets of AMD's ``amd_energy`` driver."""
    found = []
    for chip in sorted(folder.glob("hwmon*")):
        if _text(chip / "name") != "amd_energy":
            continue
        for label in sorted(chip.glob("energy*_label")):
            counter = chip / label.name.replace("_label", "_input")
            if _text(label).startswith("Esocket") and _number(counter) is not None:
                found.append(_Counter(counter, None))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None

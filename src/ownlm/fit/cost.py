"""What a million tokens cost here, beside what a hosted service asks. All in the user's own currency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ownlm.errors import InvalidSetting

_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Entered by the user. ``hosted_input`` and ``hosted_output``: of a million tokens elsewhere. ``machine_hour``: of
    an hour of this machine, rented or written off. ``kilowatt_hour``: of electricity."""

    hosted_input: float | None = None
    hosted_output: float | None = None
    machine_hour: float | None = None
    kilowatt_hour: float | None = None

    @property
    def here(self) -> bool:
        """Whether anything is known of what a token costs here."""
        return self.machine_hour is not None or self.kilowatt_hour is not None


def prices(hosted: str | None = None, machine_hour: float | None = None, kilowatt_hour: float | None = None) -> Prices:
    """From the options of a command: ``hosted`` is "INPUT/OUTPUT", or one price for both. Raises InvalidSetting.

    >>> prices("0.15/0.6").hosted_output
    0.6
    """
    for name, value in (("--machine-price", machine_hour), ("--electricity", kilowatt_hour)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidSetting(name, value, "give a price, 0 or more")
    before = after = None
    if hosted is not None:
        parts = hosted.split("/")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2) or not all(math.isfinite(n) and n >= 0 for n in numbers):
            raise InvalidSetting(
                "--price", hosted, "give the hosted price of a million input and output tokens, such as 0.15/0.60"
            )
        before, after = numbers[0], numbers[-1]
    return Prices(hosted_input=before, hosted_output=after, machine_hour=machine_hour, kilowatt_hour=kilowatt_hour)


def million(rate: float, joules: float | None, known: Prices) -> float | None:
    """A million tokens at ``rate`` a second and ``joules`` each; None where no price of this machine is known.

    >>> million(100, 0.36, Prices(machine_hour=0.36, kilowatt_hour=0.25))  # 2.78 hours; 0.1 kWh
    1.025
    """
    if not known.here:
        return None
    machine = 1e6 / rate / 3600 * (known.machine_hour or 0.0)
    power = 0.0 if joules is None else 1e6 * joules / _JOULES_PER_KWH * (known.kilowatt_hour or 0.0)
    return round(machine + power, 6)

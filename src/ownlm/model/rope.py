"""Rotary position embeddings (Su et al. 2021, arXiv:2104.09864) and the ways to stretch them over longer contexts.

What a family scales by is worked out once, here; a forward sees frequencies and one factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf.rope import llama3_factors, longrope_attention, yarn_attention

Floats = NDArray[np.float32]
KINDS = ("default", "linear", "llama3", "yarn", "longrope")


@dataclass(frozen=True, slots=True, eq=False)
class Rope:
    """Element i of a head's first half and element i of its second turn by position * ``inverse_frequencies[i]``;
    cosines and sines are multiplied by ``attention_factor``. Elements beyond 2 * len(frequencies) do not turn."""

    inverse_frequencies: Floats
    attention_factor: float = 1.0


def rope(settings: Mapping[str, Any], head_dim: int, longest: int, context: int, where: str) -> Rope:
    """From normalised settings (``gguf.rope.normalised``).

    ``longest`` is max_position_embeddings. LongRoPE has two lists of factors; the one for long texts is taken if
    ``context``, the longest text that will be computed, is beyond the original context. Raises UnsupportedModel for
    another kind and CorruptModel for impossible settings.
    """
    kind = settings["rope_type"]
    if kind not in KINDS:
        raise UnsupportedModel(f"{where}: rope_type is {kind!r}; supported: {', '.join(KINDS)}")
    try:
        theta, part = _number(settings["rope_theta"]), _number(settings["partial_rotary_factor"])
        size = int(head_dim * part)
        if not 1 < theta < 1e12 or not 0 < part <= 1 or size < 2 or size % 2:
            raise ValueError(f"base {theta}, {size} of {head_dim} elements turn")
        inverse = 1.0 / theta ** (np.arange(0, size, 2, dtype=np.float64) / size)
        with np.errstate(all="ignore"):
            found, factor = _scaled(kind, settings, inverse, theta, size, longest, context)
        if not np.isfinite(found).all() or not (found >= 0).all() or not 0 < factor < 1e4:
            raise ValueError("frequencies that are no numbers")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise CorruptModel(
            f"{where}: the settings of rope_type {kind!r} are incomplete or impossible ({error})"
        ) from None
    return Rope(found.astype(np.float32), factor)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _scaled(
    kind: str,
    settings: Mapping[str, Any],
    inverse: NDArray[np.float64],
    theta: float,
    size: int,
    longest: int,
    context: int,
) -> tuple[NDArray[np.float64], float]:
    if kind == "default":
        return inverse, 1.0
    if kind == "linear":
        return inverse / float(settings["factor"]), 1.0
    if kind == "llama3":
        return inverse / llama3_factors(settings, theta, size), 1.0
    original = int(settings["original_max_position_embeddings"])
    if kind == "yarn":
        factor = float(settings["factor"])
        attention = settings.get("attention_factor") or yarn_attention(factor)
        return _yarn(settings, inverse, theta, size, factor, original), float(attention)
    factors = np.array(settings["long_factor" if context > original else "short_factor"], np.float64)
    if factors.shape != inverse.shape or not (factors > 0).all():
        raise ValueError(f"{len(factors)} factors for {len(inverse)} frequencies")
    attention = settings.get("attention_factor") or longrope_attention(
        original * _number(settings["factor"]) if settings.get("factor") else longest, original
    )
    return inverse / factors, float(attention)


def _yarn(
    settings: Mapping[str, Any], inverse: NDArray[np.float64], theta: float, size: int, factor: float, original: int
) -> NDArray[np.float64]:
    """Slow frequencies are interpolated, fast ones kept, with a ramp between (Peng et al. 2023, arXiv:2309.00071)."""

    def dimension(turns: float) -> float:
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = dimension(float(settings.get("beta_fast") or 32))
    high = dimension(float(settings.get("beta_slow") or 1))
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = np.clip((np.arange(size // 2) - low) / ((high - low) or 0.001), 0, 1)
    stretched: NDArray[np.float64] = inverse / factor * ramp + inverse * (1 - ramp)
    return stretched

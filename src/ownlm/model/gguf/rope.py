"""Rotary embeddings in GGUF: metadata for linear and YaRN scaling, tensors of factors for Llama 3 and LongRoPE.

``rope_freqs.weight`` [head / 2] divides each frequency and is all that GGUF keeps of Llama 3's scaling, so its four
settings are recovered from it. ``rope_factors_short.weight`` and ``rope_factors_long.weight`` are LongRoPE's lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf.types import Value

FREQS = "rope_freqs.weight"
LONG = "rope_factors_long.weight"
SHORT = "rope_factors_short.weight"
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def shortest(value: float) -> float:
    """The float32's shortest decimal: what was written as 1e-05 is read as 1e-05.

    >>> shortest(9.999999747378752e-06)
    1e-05
    """
    return float(str(np.float32(value)))


def llama3_factors(rope: Mapping[str, Any], theta: float, size: int) -> NDArray[np.float32]:
    """What Llama 3's scaling divides each of the ``size`` / 2 frequencies by (Meta, Llama 3.1 reference code)."""
    factor, low, high, original = (float(rope[name]) for name in _LLAMA3)
    turns = original * theta ** -(np.arange(0, size, 2) / size) / (2 * math.pi)  # within the original context
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    factors: NDArray[np.float32] = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return factors


def llama3_settings(factors: NDArray[np.float32], theta: float, original: int | None) -> dict[str, Any]:
    """The settings that give these factors. CorruptModel if none do.

    Only ratios to the original context matter; where the file does not state it, 8192 is taken, Llama 3's own.
    """
    size, original = 2 * len(factors), original or 8192
    factor = shortest(float(factors.max(initial=1)))
    candidates = [(1.0, 4.0)]
    between = np.flatnonzero((factors > 1) & (factors < factor))
    if len(between) > 1 and factor > 1:
        # 1 / f is linear in the turns; two of the values in between give the line, and the line both ends.
        turns = original * theta ** -(np.arange(0, size, 2) / size) / (2 * math.pi)
        smooth = (1 / factors[between].astype(np.float64) - 1 / factor) / (1 - 1 / factor)
        slope, base = np.polyfit(turns[between], smooth, 1)
        if slope > 0:
            candidates.append((shortest(-base / slope), shortest((1 - base) / slope)))
    for low, high in candidates:
        rope = dict(zip(_LLAMA3, (factor, low, high, original), strict=True))
        if np.allclose(llama3_factors(rope, theta, size), factors, rtol=1e-4):
            return {"rope_type": "llama3", **rope}
    raise CorruptModel(f"{FREQS} holds factors that no Llama 3 scaling gives: get the file again")


def longrope_attention(longest: float, original: int) -> float:
    """What LongRoPE multiplies queries and keys by (Ding et al. 2024, arXiv:2402.13753)."""
    scale = longest / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def yarn_attention(factor: float) -> float:
    """What YaRN multiplies queries and keys by (Peng et al. 2023, arXiv:2309.00071)."""
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def to_metadata(
    rope: Mapping[str, Any], size: int, longest: int, where: str
) -> tuple[dict[str, Value], dict[str, NDArray[np.float32]]]:
    """Keys below ``ARCHITECTURE.rope.`` and tensors for normalised settings (``normalised``)."""
    keys = {"freq_base": Value("f32", rope["rope_theta"]), "dimension_count": Value("u32", size)}
    kind = rope["rope_type"]
    if kind == "default":
        return keys, {}
    original = rope.get("original_max_position_embeddings")
    if original is not None:
        keys["scaling.original_context_length"] = Value("u32", original)
    if kind == "llama3":
        return keys, {FREQS: llama3_factors(rope, rope["rope_theta"], size)}
    if kind == "longrope":
        own = longrope_attention(longest, original or longest)
        keys["scaling.attn_factor"] = Value("f32", rope.get("attention_factor") or own)
        return keys, {
            name: np.asarray(rope[setting], np.float32)
            for name, setting in ((LONG, "long_factor"), (SHORT, "short_factor"))
        }
    if kind not in ("linear", "yarn"):
        raise UnsupportedModel(f"{where}: rope scaling is {kind!r}; GGUF has default, linear, yarn, llama3, longrope")
    keys |= {"scaling.type": Value("str", kind), "scaling.factor": Value("f32", rope["factor"])}
    if kind == "yarn":
        for setting in ("beta_fast", "beta_slow"):
            if rope.get(setting) is not None:
                keys[f"scaling.yarn_{setting}"] = Value("f32", rope[setting])
        if rope.get("attention_factor"):
            own = yarn_attention(rope["factor"])
            keys["scaling.attn_factor"] = Value("f32", rope["attention_factor"] / own)
    return keys, {}


def from_metadata(
    keys: Mapping[str, Any], factors: Mapping[str, NDArray[np.float32]], longest: int
) -> dict[str, Any] | None:
    """``rope_scaling`` of config.json for keys below ``ARCHITECTURE.rope.``, or None; sizes are checked by the caller.

    Raises UnsupportedModel for a kind of scaling that is not known.
    """
    theta = float(keys.get("freq_base", 10000.0))
    original = keys.get("scaling.original_context_length")
    if original is not None and (type(original) is not int or original < 1):
        raise CorruptModel(f"rope.scaling.original_context_length is {original!r}, not a whole number above 0")
    if FREQS in factors:
        return llama3_settings(factors[FREQS], theta, original)
    kind = keys.get("scaling.type", "none")
    if LONG in factors or SHORT in factors:
        if not {LONG, SHORT} <= set(factors):
            raise CorruptModel(f"of {LONG} and {SHORT} only one is there: get the file again")
        lists = {
            setting: [shortest(value) for value in factors[name].tolist()]
            for name, setting in ((SHORT, "short_factor"), (LONG, "long_factor"))
        }
        stated = keys.get("scaling.attn_factor")
        usual = longrope_attention(longest, original or longest)
        own = {} if stated is None or math.isclose(stated, usual, rel_tol=1e-5) else {"attention_factor": stated}
        return {"rope_type": "longrope", **lists, "original_max_position_embeddings": original or longest, **own}
    factor = shortest(keys.get("scaling.factor", keys.get("scale_linear", 1.0)))
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind != "yarn":
        raise UnsupportedModel(f"rope.scaling.type is {kind!r}; supported: none, linear, yarn, longrope")
    found = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original or longest}
    for setting in ("beta_fast", "beta_slow"):
        if f"scaling.yarn_{setting}" in keys:
            found[setting] = shortest(keys[f"scaling.yarn_{setting}"])
    if not math.isclose(keys.get("scaling.attn_factor", 1.0), 1.0, rel_tol=1e-5):
        found["attention_factor"] = keys["scaling.attn_factor"] * yarn_attention(factor)
    return found


def _table(value: Any, name: str, where: str) -> dict[str, Any]:
    """A table of settings, or null. CorruptModel for anything else."""
    if value is not None and not isinstance(value, dict):
        raise CorruptModel(f"{where}: {name} is {value!r}, not a table of settings")
    return value or {}


def normalised(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rope settings of a config.json, old (rope_theta, rope_scaling) or new (rope_parameters), as one flat table.

    For a model with another base in its sliding layers, that one is under ``local_theta``.
    """
    theta = config.get("rope_theta")
    theta = 10000.0 if theta is None else theta
    local = config.get("rope_local_base_freq")
    found = _table(config.get("rope_parameters"), "rope_parameters", where)
    if not found:
        found = {"rope_theta": theta, **_table(config.get("rope_scaling"), "rope_scaling", where)}
    elif "full_attention" in found:
        sliding = _table(found.get("sliding_attention"), "rope_parameters.sliding_attention", where)
        if sliding.get("rope_type", "default") != "default":
            raise UnsupportedModel(
                f"{where}: rope_type of sliding layers is {sliding['rope_type']!r}; supported: 'default'"
            )
        local = sliding.get("rope_theta", local)
        found = _table(found["full_attention"], "rope_parameters.full_attention", where)
    kind = found.get("rope_type", found.get("type", "default"))
    rope = {"rope_theta": theta, **found, "rope_type": "longrope" if kind == "su" else kind}
    if rope.get("partial_rotary_factor") is None:
        stated = config.get("partial_rotary_factor")
        rope["partial_rotary_factor"] = 1.0 if stated is None else stated
    if rope.get("original_max_position_embeddings") is None:
        original = config.get("original_max_position_embeddings")
        rope["original_max_position_embeddings"] = original or config.get("max_position_embeddings")
    if local is not None:
        rope["local_theta"] = local
    unknown = set(rope) - {
        *_LLAMA3, "rope_theta", "rope_type", "type", "partial_rotary_factor", "long_factor", "short_factor",
        "attention_factor", "beta_fast", "beta_slow", "truncate", "local_theta", "finetuned",
    }  # fmt: skip
    if unknown:
        raise UnsupportedModel(f"{where}: rope setting {sorted(unknown)[0]} is not supported")
    return rope

"""Both models must be computed and sampled alike: config, rotary embeddings, tied head, generation settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ownlm.model.decoder_config import LayerConfig
from ownlm.model.gguf.rope import normalised
from ownlm.model.rope import Rope
from ownlm.publish.report import Check
from ownlm.publish.side import Side
from ownlm.publish.words import digest

_NEAR = 1e-5  # relative; GGUF keeps numbers as float32
_NOT_COMPARED = ("layers", "nested", "tie_word_embeddings")
_ROPE = ("rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq", "partial_rotary_factor")


def settings(reference: Side, candidate: Side) -> Iterator[Check]:
    """What config.json and generation_config.json, or a GGUF file's metadata, amount to."""
    yield _config(reference, candidate)
    yield _rope(reference, candidate)
    yield _tied(reference, candidate)
    yield _generation(reference, candidate)


def _config(reference: Side, candidate: Side) -> Check:
    found = [_facts(side) for side in (reference, candidate)]
    hashes = [digest(_rounded(facts)) for facts in found]
    fault = _first_difference(found[0], found[1])
    return Check("config", fault is None, fault or f"{len(found[0])} settings", *hashes)


def _facts(side: Side) -> dict[str, Any]:
    """Every setting of the forward but rotation, of which ``_rope`` speaks."""
    config = side.config
    facts = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _NOT_COMPARED
    }
    facts["experts"] = None if config.experts is None else dataclasses.asdict(config.experts)
    for index, layer in enumerate(config.layers):
        facts[f"layers.{index}"] = {
            field.name: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "rope"
        }
    return facts


def _first_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    for name in {**first, **second}:
        if not _same(first.get(name), second.get(name)):
            return f"{name} is {first.get(name)!r} in the reference, {second.get(name)!r} here"
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_NEAR)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _rounded(value: Any) -> Any:
    """Numbers as near as files keep them, so that equal settings have equal hashes."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _rope(reference: Side, candidate: Side) -> Check:
    """Layer by layer, by the frequencies that the settings give: files state the same rotation in several ways."""
    layers = [side.config.layers for side in (reference, candidate)]
    hashes = [digest([_frequencies(layer) for layer in each]) for each in layers]
    wrong = [
        index for index, pair in enumerate(zip(*layers, strict=False)) if not _same_rope(pair[0].rope, pair[1].rope)
    ]
    if not wrong and len(layers[0]) == len(layers[1]):
        return Check("rope", True, _stated(reference), *hashes)
    at = f"layer {wrong[0]} turns otherwise" if wrong else "another number of layers"
    return Check("rope", False, f"{at}: {_stated(reference)} in the reference, {_stated(candidate)} here", *hashes)


def _frequencies(layer: LayerConfig) -> Any:
    if layer.rope is None:
        return None
    return [_rounded(float(value)) for value in (*layer.rope.inverse_frequencies, layer.rope.attention_factor)]


def _same_rope(one: Rope | None, other: Rope | None) -> bool:
    if one is None or other is None:
        return one is other
    first, second = one.inverse_frequencies, other.inverse_frequencies
    if first.shape != second.shape or not math.isclose(one.attention_factor, other.attention_factor, rel_tol=1e-4):
        return False
    return bool(np.allclose(first, second, rtol=1e-4, atol=0))  # Llama 3's factors come back through float32


def _stated(side: Side) -> str:
    raw = side.raw.get("text_config") if isinstance(side.raw.get("text_config"), dict) else side.raw
    assert isinstance(raw, Mapping)
    if not any(layer.rope for layer in side.config.layers):
        return "no rotation"
    found = normalised(raw, side.name)
    kind, usual = found["rope_type"], {"rope_theta", "rope_type", "type", "partial_rotary_factor"}
    more = {} if kind == "default" else {name: found[name] for name in sorted(found) if name not in usual}
    written = ", ".join(f"{name} {value}" for name, value in more.items() if not isinstance(value, list))
    return f"{kind}, base {found['rope_theta']:g}{', ' + written if written else ''}"


def _tied(reference: Side, candidate: Side) -> Check:
    """A head of its own, or the table of embeddings. ``decoder_params`` holds that weights and config say the same."""
    shown = [_head(side) for side in (reference, candidate)]
    same = shown[0] == shown[1]
    return Check("tied head", same, shown[0] if same else f"{shown[0]} in the reference, {shown[1]} here", *shown)


def _head(side: Side) -> str:
    params = side.params
    shared = params.head.matrices[0] is params.embed_tokens.table
    return "the table of embeddings" if shared else "a matrix of its own"


def _generation(reference: Side, candidate: Side) -> Check:
    """Between folders the file itself; with a GGUF file what it can state, and the rest is named."""
    if not reference.is_gguf and not candidate.is_gguf:
        found = [side.generation for side in (reference, candidate)]
        left: list[str] = []
    else:
        found = [dict(side.sampling) for side in (reference, candidate)]
        left = sorted(name for name in ("max_tokens", "min_tokens") if name in found[0] and name not in found[1])
        for name in left:
            del found[0][name]
    fault = _first_difference(found[0], found[1])
    said = "; GGUF cannot state " + " and ".join(left) if left else ""
    detail = fault or (f"{len(found[0])} settings{said}" if found[0] or left else "none")
    return Check("generation settings", fault is None, detail, *(digest(_rounded(each)) for each in found))

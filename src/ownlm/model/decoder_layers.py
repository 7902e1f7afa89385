"""Which layers of a decoder see a window only, and how each turns: as the config says, or by the family's habit."""

from __future__ import annotations

import dataclasses

from ownlm.errors import UnsupportedModel
from ownlm.model.decoder_config import LayerConfig
from ownlm.model.decoder_settings import Settings
from ownlm.model.rope import Rope

_NO_WINDOW = ("llama", "granite", "olmo2")  # whose code knows none, whatever the config says
_KINDS = {"sliding_attention": True, "full_attention": False}


def layers(raw: Settings, turning: Rope, local: Rope) -> tuple[LayerConfig, ...]:
    """One config a layer; those with a window turn by ``local``."""
    turns = _turns(raw)
    found = []
    for index, sliding in enumerate(_sliding(raw, turns)):
        layer = LayerConfig(raw.count("sliding_window"), local) if sliding else LayerConfig(None, turning)
        found.append(layer if turns[index] else dataclasses.replace(layer, rope=None))
    return tuple(found)


def _sliding(raw: Settings, turns: list[bool]) -> list[bool]:
    kind, count = raw.values["model_type"], len(turns)
    stated = raw.each_layer("layer_types", count)
    for name in stated or ():
        if not isinstance(name, str) or name not in _KINDS:
            raise UnsupportedModel(f"{raw.where}: layer_types has {name!r}; supported: {', '.join(_KINDS)}")
    if kind.startswith("gemma"):
        raw.count("sliding_window")  # which its layers cannot be without: they turn by it too
    if raw.get("sliding_window") is None or kind in _NO_WINDOW or not raw.flag("use_sliding_window", True):
        return [False] * count
    if stated is not None:
        return [_KINDS[name] for name in stated]
    if kind in ("gemma2", "gpt_oss"):
        return [index % 2 == 0 for index in range(count)]
    if kind == "gemma3_text":
        every = raw.count("sliding_window_pattern", raw.count("_sliding_window_pattern", 6))
        return [(index + 1) % every != 0 for index in range(count)]
    if kind in ("qwen2", "qwen3"):
        whole = raw.get("max_window_layers", 0)
        return [index >= (raw.count("max_window_layers") if whole else 0) for index in range(count)]
    if kind == "smollm3":
        return [not turn for turn in turns]
    return [True] * count


def _turns(raw: Settings) -> list[bool]:
    """SmolLM3 has layers without rotation: 0 in ``no_rope_layers``, or every fourth."""
    count = raw.count("num_hidden_layers")
    if raw.values["model_type"] != "smollm3":
        return [True] * count
    stated = raw.each_layer("no_rope_layers", count)
    if stated is not None:
        return [bool(turn) for turn in stated]
    every = raw.count("no_rope_layer_interval", 4)
    return [(index + 1) % every != 0 for index in range(count)]

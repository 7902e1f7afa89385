"""A model's ``config.json`` as GGUF metadata. What GGUF cannot state is refused by name, never dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf import rope as gguf_rope
from ownlm.model.gguf.architectures import BY_MODEL_TYPE, Architecture, query_scale, sliding_layers
from ownlm.model.gguf.types import Value


def architecture_of(config: Mapping[str, Any], where: Path) -> Architecture:
    """The GGUF architecture of a config; UnsupportedModel, with what there is, for another family."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in BY_MODEL_TYPE:
        raise UnsupportedModel(
            f"{where}: model_type {kind!r} cannot be written as GGUF; supported: {', '.join(sorted(BY_MODEL_TYPE))}"
        )
    return BY_MODEL_TYPE[kind]


def metadata(config: Mapping[str, Any], where: Path) -> tuple[dict[str, Value], dict[str, NDArray[np.float32]]]:
    """Keys and extra tensors (rope factors) of a model whose raw config is given.

    Raises CorruptModel for a setting that is missing, UnsupportedModel for one that GGUF cannot state.
    """
    kind = architecture_of(config, where)
    full = _completed(config, kind, where)
    found = {"general.architecture": Value("str", kind.name), "general.type": Value("str", "model")}
    for key in kind.keys:
        value = full.get(key.setting)
        if value is None and not key.required:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise CorruptModel(f"{where}: {key.setting} is {value!r}, not a number")
        found[f"{kind.name}.{key.key}"] = Value(key.kind, value)
    found[f"{kind.name}.vocab_size"] = Value("u32", full["vocab_size"])
    if kind.name == "gpt2":
        return found, {}
    found[f"{kind.name}.attention.value_length"] = Value("u32", full["head_dim"])
    rope = gguf_rope.normalised(config, str(where))
    size = int(full["head_dim"] * rope["partial_rotary_factor"])
    keys, tensors = gguf_rope.to_metadata(rope, size, full["max_position_embeddings"], str(where))
    if "local_theta" in rope and rope["local_theta"] != 10000.0:
        keys["freq_base_swa"] = Value("f32", rope["local_theta"])
    if kind.name == "phi3" and rope["original_max_position_embeddings"]:
        keys["scaling.original_context_length"] = Value("u32", rope["original_max_position_embeddings"])
    return found | {f"{kind.name}.rope.{key}": value for key, value in keys.items()}, tensors


def _completed(config: Mapping[str, Any], kind: Architecture, where: Path) -> dict[str, Any]:
    """The config with what families leave to defaults, after a check that the rest is what GGUF implies."""
    full = dict(config)
    for setting in ("vocab_size", *(key.setting for key in kind.keys if key.required and key.setting != "n_inner")):
        if full.get(setting) is None and not (setting == "num_experts" and "num_local_experts" in full):
            raise CorruptModel(f"{where}: {setting} is missing")
    if kind.name == "gpt2":
        full["n_inner"] = full.get("n_inner") or 4 * full["n_embd"]
        _refuse(where, full, {**kind.fixed, "activation_function": kind.activation})
        return full
    full["num_experts"] = full.get("num_experts", full.get("num_local_experts"))
    full["head_dim"] = full.get("head_dim") or full["hidden_size"] // full["num_attention_heads"]
    full["num_key_value_heads"] = full.get("num_key_value_heads") or full["num_attention_heads"]
    implied: dict[str, Any] = dict(kind.fixed)
    implied["hidden_activation" if kind.name.startswith("gemma") else "hidden_act"] = kind.activation
    if kind.name.startswith("gemma"):
        implied["query_pre_attn_scalar"] = query_scale(kind, full)
    types = sliding_layers(kind, full["num_hidden_layers"])
    if types is not None:
        implied["layer_types"] = types
    if kind.name == "smollm3":
        implied["no_rope_layers"] = [int((layer + 1) % 4 != 0) for layer in range(full["num_hidden_layers"])]
    if full.get("use_sliding_window"):
        raise UnsupportedModel(f"{where}: use_sliding_window is true, which GGUF cannot state for {kind.model_type}")
    _refuse(where, full, implied)
    return full


def _refuse(where: Path, config: Mapping[str, Any], implied: Mapping[str, Any]) -> None:
    for setting, value in implied.items():
        if config.get(setting, value) != value:
            raise UnsupportedModel(f"{where}: {setting} is {config[setting]!r}; GGUF of this family implies {value!r}")

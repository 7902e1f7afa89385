"""The config that GGUF metadata amounts to: the same names and values as the family's own ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf import GgufFile
from ownlm.model.gguf import rope as gguf_rope
from ownlm.model.gguf.architectures import (
    BY_NAME,
    MIXTRAL,
    Architecture,
    Key,
    query_scale,
    sliding_layers,
)

TOKEN_IDS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
_OLMO3 = "attention.sliding_window"


def architecture(file: GgufFile) -> Architecture:
    """Which family the file is of. UnsupportedModel, with what is supported, for another."""
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str):
        raise CorruptModel(f"{file.path} states no general.architecture: get the file again")
    if name not in BY_NAME:
        raise UnsupportedModel(f"{file.path}: architecture is {name!r}; supported: {', '.join(sorted(BY_NAME))}")
    if name == "olmo2" and f"olmo2.{_OLMO3}" in file.metadata:
        raise UnsupportedModel(f"{file.path} is an OLMo 3; supported: OLMo 2 (without olmo2.{_OLMO3})")
    return MIXTRAL if name == "llama" and file.metadata.get("llama.expert_count") else BY_NAME[name]


def config(file: GgufFile) -> dict[str, Any]:
    """What ``config.json`` of this model would say. CorruptModel names a key that is missing or impossible."""
    kind = architecture(file)
    try:
        return _config(file, kind)
    except (CorruptModel, UnsupportedModel) as error:
        if str(file.path) in str(error):
            raise
        raise type(error)(f"{file.path}: {error}") from None


def _config(file: GgufFile, kind: Architecture) -> dict[str, Any]:
    keys = {
        key.removeprefix(f"{kind.name}."): value
        for key, value in file.metadata.items()
        if key.startswith(f"{kind.name}.")
    }
    found: dict[str, Any] = {"model_type": kind.model_type}
    for key in kind.keys:
        value = _setting(keys, key)
        if value is not None:
            found[key.setting] = value
    found["vocab_size"] = _vocabulary(file)
    found["tie_word_embeddings"] = "output.weight" not in file.tensors
    found |= {setting: file.metadata[key] for setting, key in TOKEN_IDS.items() if type(file.metadata.get(key)) is int}
    found |= kind.fixed
    if kind.name == "gpt2":
        return {**found, "activation_function": kind.activation}
    found["hidden_activation" if kind.name.startswith("gemma") else "hidden_act"] = kind.activation
    _heads(keys, found)
    _rope(file, kind, keys, found)
    _attention(file, kind, keys, found)
    return found


def _setting(keys: Mapping[str, Any], key: Key) -> Any:
    value = keys.get(key.key)
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]  # one number for every layer
    if value is None and not key.required:
        return None
    if key.kind == "u32" and (type(value) is not int or not 0 < value < 2**31):
        if value == 0 and not key.required:
            return None
        raise CorruptModel(f"{key.key} is {value!r}, not a whole number above 0")
    if key.kind == "f32":
        if not isinstance(value, int | float) or not 0 < abs(value) < 1e9:
            raise CorruptModel(f"{key.key} is {value!r}, not a number that it can be")
        return gguf_rope.shortest(value)
    return value


def _vocabulary(file: GgufFile) -> int:
    table = file.tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        raise CorruptModel("token_embd.weight is missing or no matrix")
    return table.shape[0]


def _heads(keys: Mapping[str, Any], found: dict[str, Any]) -> None:
    found.setdefault("num_key_value_heads", found["num_attention_heads"])
    if "head_dim" not in found:
        if found["hidden_size"] % found["num_attention_heads"]:
            raise CorruptModel(
                f"embedding_length is {found['hidden_size']}, which {found['num_attention_heads']} heads do not divide"
            )
        found["head_dim"] = found["hidden_size"] // found["num_attention_heads"]
    if keys.get("attention.value_length", found["head_dim"]) != found["head_dim"]:
        raise UnsupportedModel(
            f"attention.value_length is {keys['attention.value_length']!r}; supported: the key's {found['head_dim']}"
        )


def _rope(file: GgufFile, kind: Architecture, keys: Mapping[str, Any], found: dict[str, Any]) -> None:
    rope = {key.removeprefix("rope."): value for key, value in keys.items() if key.startswith("rope.")}
    for key, value in rope.items():
        if isinstance(value, bool | list) or (isinstance(value, str) != (key == "scaling.type")):
            raise CorruptModel(f"rope.{key} is {value!r}, which it cannot be")
    base = rope.get("freq_base", 10000.0)
    size = rope.get("dimension_count", found["head_dim"])
    if not 0 < base < 1e12 or type(size) is not int or not 0 < size <= found["head_dim"] or size % 2:
        raise CorruptModel(f"rope.freq_base is {base!r}, rope.dimension_count {size!r}: they cannot be")
    factors = {}
    for name in (gguf_rope.FREQS, gguf_rope.LONG, gguf_rope.SHORT):
        if name in file.tensors:
            factors[name] = file.tensors[name].float32()
            if factors[name].shape != (size // 2,) or not (factors[name] > 0).all():
                raise CorruptModel(f"{name} of shape {factors[name].shape} does not hold {size // 2} factors above 0")
    found["rope_theta"] = gguf_rope.shortest(base)
    scaling = gguf_rope.from_metadata(rope, factors, found["max_position_embeddings"])
    if kind.name == "phi3":
        original = rope.get("scaling.original_context_length")
        found["original_max_position_embeddings"] = original or found["max_position_embeddings"]
        if size != found["head_dim"]:
            found["partial_rotary_factor"] = size / found["head_dim"]
    elif size != found["head_dim"]:
        raise UnsupportedModel(f"rope.dimension_count is {size}; supported: the head's {found['head_dim']}")
    if kind.name == "gpt-oss" and scaling is not None:
        scaling["truncate"] = False
    found["rope_scaling"] = scaling
    if kind.name == "gemma3":
        found["rope_local_base_freq"] = gguf_rope.shortest(rope.get("freq_base_swa", 10000.0))


def _attention(file: GgufFile, kind: Architecture, keys: Mapping[str, Any], found: dict[str, Any]) -> None:
    pattern = keys.get("attention.sliding_window_pattern")
    layers = found["num_hidden_layers"]
    if kind.name == "gemma3" and isinstance(pattern, list) and len(pattern) == layers:
        found["layer_types"] = ["sliding_attention" if sliding else "full_attention" for sliding in pattern]
    elif (types := sliding_layers(kind, layers, pattern if type(pattern) is int else None)) is not None:
        found["layer_types"] = types
    if kind.name.startswith("gemma"):
        found["query_pre_attn_scalar"] = query_scale(kind, found)
    if kind.model_type in ("llama", "granite", "smollm3"):
        found["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
        found["mlp_bias"] = "blk.0.ffn_up.bias" in file.tensors
    if kind.model_type == "llama" and found.get("sliding_window"):
        # Mistral's: files of others leave the window out and are Llamas.
        found["model_type"] = "mistral"
        for setting in ("attention_bias", "mlp_bias"):
            if found.pop(setting):
                raise UnsupportedModel(f"a sliding window with {setting}: no supported family has both")
    if kind.name == "smollm3":
        found["no_rope_layers"] = [int((layer + 1) % 4 != 0) for layer in range(layers)]
        found["no_rope_layer_interval"] = 4

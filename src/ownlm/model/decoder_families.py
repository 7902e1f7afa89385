"""Every family's config.json as one ``DecoderConfig``. What would change the forward is honoured or refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.decoder_config import DecoderConfig, ExpertsConfig, GatedActivation, LayerConfig
from ownlm.model.gguf.rope import normalised
from ownlm.model.rope import Rope, rope

# By the checkpoint's name.
_GATED: dict[str, GatedActivation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_TIED = frozenset({"gemma2", "gemma3_text", "gpt2", "smollm3"})  # where config.json does not say
# What Gemma 3's nested config.json leaves out, being its library's defaults.
_GEMMA3 = {
    "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6,
    "max_position_embeddings": 131072, "query_pre_attn_scalar": 256, "sliding_window": 4096, "rope_theta": 1e6,
    "rope_local_base_freq": 10000.0, "hidden_activation": "gelu_pytorch_tanh",
}  # fmt: skip


class _Raw:
    """A config.json: values by name, checked as they are taken."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def get(self, name: str, default: Any = None) -> Any:
        found = self.values.get(name)
        return default if found is None else found

    def count(self, name: str, default: int | None = None) -> int:
        value = self.get(name, default)
        if type(value) is not int or not 0 < value < 2**31:
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not a whole number above 0")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9 or value == 0:
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not a number that it can be")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not true or false")
        return value

    def refuse(self, **plain: Any) -> None:
        """UnsupportedModel for a setting that is there with another value than the one that is supported."""
        for name, value in plain.items():
            if self.get(name, value) != value:
                raise UnsupportedModel(f"{self.where}: {name} is {self.values[name]!r}; supported: {value!r}")

    def activation(self, *names: str) -> GatedActivation:
        name = next((self.values[key] for key in names if self.values.get(key) is not None), "silu")
        if name not in _GATED:
            raise UnsupportedModel(f"{self.where}: {names[0]} is {name!r}; supported: {', '.join(sorted(_GATED))}")
        return _GATED[name]


def decoder_config(raw: Mapping[str, Any], where: str | Path, context: int | None = None) -> DecoderConfig:
    """Read a config (``checkpoint.raw_config``). ``context`` is the longest text that will be computed.

    Raises UnsupportedModel for a family or a setting that is not supported, CorruptModel for impossible values.
    """
    where = str(where)
    nested = raw.get("text_config")
    if isinstance(nested, dict):
        inherited = {name: raw[name] for name in ("tie_word_embeddings",) if name in raw and name not in nested}
        return dataclasses.replace(decoder_config({**nested, **inherited}, where, context), nested=True)
    stated = raw.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, dict) else None
    if method not in (None, "ownlm", "mxfp4"):
        raise UnsupportedModel(f"{where}: quant_method is {method!r}; supported: ownlm, mxfp4, and GGUF files")
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise UnsupportedModel(f"{where}: model_type is {kind!r}; supported: {', '.join(sorted(_FAMILIES))}")
    config = _FAMILIES[kind](_Raw({**_GEMMA3, **raw} if kind == "gemma3_text" else raw, where), context)
    if config.num_attention_heads % config.num_key_value_heads:
        raise CorruptModel(
            f"{where}: {config.num_attention_heads} heads cannot share {config.num_key_value_heads} key-value heads"
        )
    return config


def supported() -> list[str]:
    """The model_types that are read here."""
    return sorted(_FAMILIES)


def _common(raw: _Raw, context: int | None, **changes: Any) -> DecoderConfig:
    """What all families but GPT-2 say in the same words."""
    raw.refuse(pretraining_tp=1)
    heads, hidden = raw.count("num_attention_heads"), raw.count("hidden_size")
    if raw.get("head_dim") is None and hidden % heads:
        raise CorruptModel(f"{raw.where}: hidden_size is {hidden}, which {heads} num_attention_heads do not divide")
    head = raw.count("head_dim", hidden // heads)
    longest = raw.count("max_position_embeddings")
    settings = normalised(raw.values, raw.where)
    turning = rope(settings, head, longest, context or longest, raw.where)
    local = turning
    if "local_theta" in settings:
        plain = {**settings, "rope_type": "default", "rope_theta": settings["local_theta"]}
        local = rope(plain, head, longest, longest, raw.where)
    config = DecoderConfig(
        model_type=raw.values["model_type"],
        vocab_size=raw.count("vocab_size"),
        hidden_size=hidden,
        intermediate_size=raw.count("intermediate_size"),
        num_attention_heads=heads,
        num_key_value_heads=raw.count("num_key_value_heads", heads),
        head_dim=head,
        max_position_embeddings=longest,
        layers=_layers(raw, turning, local),
        norm_eps=raw.number("rms_norm_eps", 1e-6),
        activation=raw.activation("hidden_act", "hidden_activation"),
        attention_scale=head**-0.5,
        tie_word_embeddings=raw.flag("tie_word_embeddings", raw.values["model_type"] in _TIED),
    )
    return dataclasses.replace(config, **changes)


def _layers(raw: _Raw, turning: Rope, local: Rope) -> tuple[LayerConfig, ...]:
    """``layer_types`` where the config has them; else the family's habit."""
    layers, kind = raw.count("num_hidden_layers"), raw.values["model_type"]
    window = raw.get("sliding_window")
    if raw.get("use_sliding_window") is False or kind in ("llama", "granite", "olmo2", "gpt2"):
        window = None
    if window is not None:
        window = raw.count("sliding_window")
    types = raw.get("layer_types")
    if types is not None and (not isinstance(types, list) or len(types) != layers):
        raise CorruptModel(f"{raw.where}: layer_types does not name the kinds of {layers} layers")
    found = []
    for layer in range(layers):
        sliding = window is not None and (
            _slides(raw, kind, layer) if types is None else types[layer] == "sliding_attention"
        )
        if types is not None and types[layer] not in ("sliding_attention", "full_attention"):
            raise UnsupportedModel(
                f"{raw.where}: layer_types has {types[layer]!r}; supported: sliding and full attention"
            )
        found.append(LayerConfig(window if sliding else None, local if sliding else turning))
    return tuple(found)


def _slides(raw: _Raw, kind: str, layer: int) -> bool:
    if kind in ("gemma2", "gpt_oss"):
        return layer % 2 == 0
    if kind == "gemma3_text":
        every = raw.get("sliding_window_pattern", raw.get("_sliding_window_pattern", 6))
        return bool((layer + 1) % int(every) != 0)
    if kind in ("qwen2", "qwen3"):
        return layer >= int(raw.get("max_window_layers", 0))
    return True


def _llama(raw: _Raw, context: int | None) -> DecoderConfig:
    return _common(
        raw,
        context,
        attention_bias="all" if raw.flag("attention_bias") else "",
        mlp_bias=raw.flag("mlp_bias"),
    )


def _qwen2(raw: _Raw, context: int | None) -> DecoderConfig:
    return _common(raw, context, attention_bias="qkv")


def _qwen3(raw: _Raw, context: int | None) -> DecoderConfig:
    return _common(raw, context, qk_norm="head", attention_bias="all" if raw.flag("attention_bias") else "")


def _qwen3_moe(raw: _Raw, context: int | None) -> DecoderConfig:
    config = _qwen3(raw, context)
    count = raw.count("num_experts" if raw.get("num_experts") is not None else "num_local_experts")
    experts = ExpertsConfig(
        count,
        _chosen(raw, count),
        raw.count("moe_intermediate_size"),
        config.activation,
        normalize=raw.flag("norm_topk_prob"),
    )
    step, dense = raw.count("decoder_sparse_step", 1), raw.get("mlp_only_layers", [])
    layers = tuple(
        dataclasses.replace(layer, sparse=index not in dense and (index + 1) % step == 0)
        for index, layer in enumerate(config.layers)
    )
    return dataclasses.replace(config, experts=experts, layers=layers)


def _mixtral(raw: _Raw, context: int | None) -> DecoderConfig:
    config = _common(raw, context)
    count = raw.count("num_local_experts")
    experts = ExpertsConfig(count, _chosen(raw, count), config.intermediate_size, config.activation, normalize=True)
    return dataclasses.replace(config, experts=experts, layers=_all_sparse(config))


def _gpt_oss(raw: _Raw, context: int | None) -> DecoderConfig:
    raw.refuse(swiglu_limit=7.0, swiglu_alpha=1.702, hidden_act="silu")
    config = _common(
        raw, context, attention_sinks=True, attention_bias="all" if raw.flag("attention_bias", True) else ""
    )
    count = raw.count("num_local_experts")
    experts = ExpertsConfig(count, _chosen(raw, count), config.intermediate_size, "swiglu_oai", softmax_of_chosen=True)
    return dataclasses.replace(config, experts=experts, layers=_all_sparse(config), activation="swiglu_oai")


def _chosen(raw: _Raw, count: int) -> int:
    chosen = raw.count("num_experts_per_tok")
    if chosen > count:
        raise CorruptModel(f"{raw.where}: num_experts_per_tok is {chosen}, of {count} experts")
    return chosen


def _all_sparse(config: DecoderConfig) -> tuple[LayerConfig, ...]:
    return tuple(dataclasses.replace(layer, sparse=True) for layer in config.layers)


def _gemma2(raw: _Raw, context: int | None) -> DecoderConfig:
    raw.refuse(use_bidirectional_attention=False)
    return _common(
        raw,
        context,
        norm_offset=1.0,
        norm_placement="both",
        activation=raw.activation("hidden_activation", "hidden_act"),
        attention_scale=raw.number("query_pre_attn_scalar", 256) ** -0.5,
        attention_bias="all" if raw.flag("attention_bias") else "",
        attention_softcap=_cap(raw, "attn_logit_softcapping"),
        final_softcap=_cap(raw, "final_logit_softcapping"),
        embedding_scale=raw.count("hidden_size") ** 0.5,
    )


def _gemma3(raw: _Raw, context: int | None) -> DecoderConfig:
    if raw.get("attn_logit_softcapping") is not None:
        raise UnsupportedModel(f"{raw.where}: attn_logit_softcapping is set; Gemma 3 has none")
    return dataclasses.replace(_gemma2(raw, context), qk_norm="head")


def _cap(raw: _Raw, name: str) -> float | None:
    return None if raw.get(name) is None else raw.number(name)


def _granite(raw: _Raw, context: int | None) -> DecoderConfig:
    return dataclasses.replace(
        _llama(raw, context),
        attention_scale=raw.number("attention_multiplier", 1.0),
        embedding_scale=raw.number("embedding_multiplier", 1.0),
        residual_scale=raw.number("residual_multiplier", 1.0),
        logits_scale=1.0 / raw.number("logits_scaling", 1.0),
    )


def _olmo2(raw: _Raw, context: int | None) -> DecoderConfig:
    return dataclasses.replace(_llama(raw, context), norm_placement="post", qk_norm="row")


def _plain(raw: _Raw, context: int | None) -> DecoderConfig:
    return _common(raw, context)


def _smollm3(raw: _Raw, context: int | None) -> DecoderConfig:
    config = _llama(raw, context)
    turns = raw.get("no_rope_layers")
    if turns is None:
        every = raw.count("no_rope_layer_interval", 4)
        turns = [int((layer + 1) % every != 0) for layer in range(config.num_hidden_layers)]
    if not isinstance(turns, list) or len(turns) != config.num_hidden_layers:
        raise CorruptModel(f"{raw.where}: no_rope_layers does not speak of {config.num_hidden_layers} layers")
    layers = tuple(
        layer if turn else dataclasses.replace(layer, rope=None)
        for layer, turn in zip(config.layers, turns, strict=True)
    )
    return dataclasses.replace(config, layers=layers)


def _gpt2(raw: _Raw, context: int | None) -> DecoderConfig:
    raw.refuse(scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    hidden, heads = raw.count("n_embd"), raw.count("n_head")
    if hidden % heads:
        raise CorruptModel(f"{raw.where}: n_embd is {hidden}, which {heads} n_head do not divide")
    activation = raw.activation("activation_function") if raw.get("activation_function") else "gelu_tanh"
    if activation == "silu":
        raise UnsupportedModel(
            f"{raw.where}: activation_function is {raw.values['activation_function']!r}; supported: gelu"
        )
    return DecoderConfig(
        model_type="gpt2",
        vocab_size=raw.count("vocab_size"),
        hidden_size=hidden,
        intermediate_size=raw.count("n_inner", 4 * hidden),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=raw.count("n_positions"),
        layers=(LayerConfig(),) * raw.count("n_layer"),
        norm_eps=raw.number("layer_norm_epsilon", 1e-5),
        norm="layer",
        activation=activation,
        gated=False,
        attention_scale=(hidden // heads) ** -0.5 if raw.flag("scale_attn_weights", True) else 1.0,
        attention_bias="all",
        mlp_bias=True,
        learned_positions=True,
        tie_word_embeddings=raw.flag("tie_word_embeddings", True),
    )


_FAMILIES: dict[str, Callable[[_Raw, int | None], DecoderConfig]] = {
    "llama": _llama,
    "mistral": _plain,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi3": _plain,
    "olmo2": _olmo2,
    "granite": _granite,
    "smollm3": _smollm3,
    "gpt2": _gpt2,
    "gpt_oss": _gpt_oss,
}

"""Every family's config.json as one ``DecoderConfig``. What would change the forward is honoured or refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.decoder_config import DecoderConfig, ExpertsConfig, GatedActivation, LayerConfig
from ownlm.model.decoder_defaults import DEFAULTS
from ownlm.model.decoder_gpt2 import gpt2
from ownlm.model.decoder_layers import layers
from ownlm.model.decoder_settings import Settings
from ownlm.model.gguf.rope import normalised
from ownlm.model.rope import rope


def decoder_config(raw: Mapping[str, Any], where: str | Path, context: int | None = None) -> DecoderConfig:
    """Read a config (``checkpoint.raw_config``). ``context`` is the longest text that will be computed.

    Raises UnsupportedModel for a family or a setting that is not supported, CorruptModel for impossible values.
    """
    where = str(where)
    nested = raw.get("text_config")
    if isinstance(nested, dict):
        inherited = {
            name: raw[name]
            for name in ("tie_word_embeddings", "quantization_config")
            if name in raw and name not in nested
        }
        return dataclasses.replace(_flat({**nested, **inherited}, where, context), nested=True)
    return _flat(raw, where, context)


def _flat(raw: Mapping[str, Any], where: str, context: int | None) -> DecoderConfig:
    stated = raw.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, dict) else None
    if method not in (None, "ownlm", "mxfp4"):
        raise UnsupportedModel(f"{where}: quant_method is {method!r}; supported: ownlm, mxfp4, and GGUF files")
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise UnsupportedModel(f"{where}: model_type is {kind!r}; supported: {', '.join(sorted(_FAMILIES))}")
    config = _FAMILIES[kind](Settings({**DEFAULTS[kind], **raw}, where), context)
    if config.num_attention_heads % config.num_key_value_heads:
        raise CorruptModel(
            f"{where}: {config.num_attention_heads} heads cannot share {config.num_key_value_heads} key-value heads"
        )
    return config


def supported() -> list[str]:
    """The model_types that are read here."""
    return sorted(_FAMILIES)


def _common(raw: Settings, context: int | None, **changes: Any) -> DecoderConfig:
    """What all families but GPT-2 say in the same words."""
    heads, hidden = raw.count("num_attention_heads"), raw.count("hidden_size")
    if raw.get("head_dim") is None and hidden % heads:
        raise CorruptModel(f"{raw.where}: hidden_size is {hidden}, which {heads} num_attention_heads do not divide")
    head = raw.count("head_dim", max(1, hidden // heads))
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
        layers=layers(raw, turning, local),
        norm_eps=raw.number("rms_norm_eps", 1e-6),
        activation=_gate(raw),
        attention_scale=head**-0.5,
        tie_word_embeddings=raw.flag("tie_word_embeddings"),
    )
    return dataclasses.replace(config, **changes)


def _gate(raw: Settings) -> GatedActivation:
    return raw.activation("hidden_act", "hidden_activation")


def _llama(raw: Settings, context: int | None) -> DecoderConfig:
    return _common(
        raw,
        context,
        attention_bias="all" if raw.flag("attention_bias") else "",
        mlp_bias=raw.flag("mlp_bias"),
    )


def _qwen2(raw: Settings, context: int | None) -> DecoderConfig:
    return _common(raw, context, attention_bias="qkv")


def _qwen3(raw: Settings, context: int | None) -> DecoderConfig:
    return _common(raw, context, qk_norm="head", attention_bias="all" if raw.flag("attention_bias") else "")


def _ownlm(raw: Settings, context: int | None) -> DecoderConfig:
    """OwnLM's own, for research: Qwen3 with squared ReLU, value embeddings and capped logits."""
    raw.refuse(hidden_act="relu2", attention_bias=False)
    config = _common(
        Settings({**raw.values, "hidden_act": None}, raw.where),  # which is no gate's
        context,
        qk_norm="head",
        activation="relu2",
        gated=False,
        final_softcap=raw.number_or_none("final_logit_softcapping"),
    )
    chosen = raw.get("value_embedding_layers", [])
    count = config.num_hidden_layers
    if not isinstance(chosen, list) or not all(type(index) is int and 0 <= index < count for index in chosen):
        raise CorruptModel(
            f"{raw.where}: value_embedding_layers is {chosen!r}, not a list of layers from 0 to {count - 1}"
        )
    found = tuple(
        dataclasses.replace(layer, value_embedding=index in chosen) for index, layer in enumerate(config.layers)
    )
    return dataclasses.replace(config, layers=found)


def _qwen3_moe(raw: Settings, context: int | None) -> DecoderConfig:
    config = _qwen3(raw, context)
    count = raw.count("num_experts", raw.count("num_local_experts", 128))
    experts = ExpertsConfig(
        count,
        _chosen(raw, count),
        raw.count("moe_intermediate_size"),
        _gate(raw),
        normalize=raw.flag("norm_topk_prob"),
    )
    step, dense = raw.count("decoder_sparse_step", 1), raw.get("mlp_only_layers", [])
    if not isinstance(dense, list):
        raise CorruptModel(f"{raw.where}: mlp_only_layers is {dense!r}, not a list of layers")
    found = tuple(
        dataclasses.replace(layer, sparse=index not in dense and (index + 1) % step == 0)
        for index, layer in enumerate(config.layers)
    )
    return dataclasses.replace(config, experts=experts, layers=found)


def _mixtral(raw: Settings, context: int | None) -> DecoderConfig:
    config = _common(raw, context)
    count = raw.count("num_local_experts")
    experts = ExpertsConfig(count, _chosen(raw, count), config.intermediate_size, _gate(raw), normalize=True)
    return dataclasses.replace(config, experts=experts, layers=_all_sparse(config))


def _gpt_oss(raw: Settings, context: int | None) -> DecoderConfig:
    raw.refuse(swiglu_limit=7.0, swiglu_alpha=1.702, hidden_act="silu")
    config = _common(
        raw, context, attention_sinks=True, attention_bias="all" if raw.flag("attention_bias", True) else ""
    )
    count = raw.count("num_local_experts")
    experts = ExpertsConfig(count, _chosen(raw, count), config.intermediate_size, "swiglu_oai", softmax_of_chosen=True)
    return dataclasses.replace(config, experts=experts, layers=_all_sparse(config), activation="swiglu_oai")


def _chosen(raw: Settings, count: int) -> int:
    chosen = raw.count("num_experts_per_tok")
    if chosen > count:
        raise CorruptModel(f"{raw.where}: num_experts_per_tok is {chosen}, of {count} experts")
    return chosen


def _all_sparse(config: DecoderConfig) -> tuple[LayerConfig, ...]:
    return tuple(dataclasses.replace(layer, sparse=True) for layer in config.layers)


def _gemma2(raw: Settings, context: int | None) -> DecoderConfig:
    raw.refuse(use_bidirectional_attention=False)
    return _common(
        raw,
        context,
        norm_offset=1.0,
        norm_placement="both",
        activation=raw.activation("hidden_activation", "hidden_act"),
        attention_scale=raw.number("query_pre_attn_scalar", 256) ** -0.5,
        attention_bias="all" if raw.flag("attention_bias") else "",
        attention_softcap=raw.number_or_none("attn_logit_softcapping"),
        final_softcap=raw.number_or_none("final_logit_softcapping"),
        embedding_scale=raw.count("hidden_size") ** 0.5,
    )


def _gemma3(raw: Settings, context: int | None) -> DecoderConfig:
    if raw.get("attn_logit_softcapping") is not None:
        raise UnsupportedModel(f"{raw.where}: attn_logit_softcapping is set; Gemma 3 has none")
    return dataclasses.replace(_gemma2(raw, context), qk_norm="head")


def _granite(raw: Settings, context: int | None) -> DecoderConfig:
    return dataclasses.replace(
        _llama(raw, context),
        attention_scale=raw.number("attention_multiplier", 1.0),
        embedding_scale=raw.number("embedding_multiplier", 1.0),
        residual_scale=raw.number("residual_multiplier", 1.0),
        logits_scale=1.0 / raw.number("logits_scaling", 1.0),
    )


def _olmo2(raw: Settings, context: int | None) -> DecoderConfig:
    return dataclasses.replace(_llama(raw, context), norm_placement="post", qk_norm="row")


def _plain(raw: Settings, context: int | None) -> DecoderConfig:
    return _common(raw, context)


_FAMILIES: dict[str, Callable[[Settings, int | None], DecoderConfig]] = {
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
    "smollm3": _llama,
    "gpt2": gpt2,
    "gpt_oss": _gpt_oss,
    "ownlm": _ownlm,
}

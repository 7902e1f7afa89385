"""GPT-2's config.json, which says everything in words of its own."""

from __future__ import annotations

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.decoder_config import DecoderConfig, LayerConfig
from ownlm.model.decoder_settings import Settings


def gpt2(raw: Settings, context: int | None) -> DecoderConfig:
    """As a ``DecoderConfig``; raises as ``decoder_config`` does. Learned positions know no longer ``context``."""
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

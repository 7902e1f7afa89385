"""Which tensors of a decoder's checkpoint go where; the names are the Hugging Face layout's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_tensors import Blank, Take
from ownlm.model.params import (
    DecoderLayer,
    DecoderParams,
    EmbeddingWeight,
    ExpertsParams,
    GluWeight,
    LinearWeight,
    Matrix,
    NormWeight,
    RMSNormWeight,
)
from ownlm.model.safetensors import Tensor


def decoder_params(config: DecoderConfig, tensors: Mapping[str, Tensor]) -> DecoderParams:
    """The stored weights as a tree.

    Raises CorruptModel for a tensor that is missing, of another shape than the config implies, or unknown.
    """
    take = Take(config, tensors)
    params = _params(config, take)
    take.finish()
    return params


def blank_params(config: DecoderConfig) -> tuple[DecoderParams, dict[str, Tensor]]:
    """The tree of a model that is yet to be trained, all zeros, and its tensors by name; the tree's arrays are theirs.

    Not for families whose tensors are stored otherwise than they are used (gpt2, gpt_oss).
    """
    take = Blank(config)
    return _params(config, take), take.made


def _params(config: DecoderConfig, take: Take) -> DecoderParams:
    return _gpt2(config, take) if config.model_type == "gpt2" else _llama(config, take)


def _llama(config: DecoderConfig, take: Take) -> DecoderParams:
    embed = take.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
    return DecoderParams(
        embed_tokens=EmbeddingWeight(embed),
        positions=None,
        layers=tuple(_layer(config, take, index) for index in range(config.num_hidden_layers)),
        norm=take.rms("model.norm.weight", config.hidden_size),
        head=_head(config, take, embed),
    )


def _head(config: DecoderConfig, take: Take, embed: Matrix) -> LinearWeight:
    if config.tie_word_embeddings:
        take.again("lm_head.weight", embed)
        return LinearWeight((embed,))
    return LinearWeight((take.matrix("lm_head.weight", config.vocab_size, config.hidden_size),))


def _layer(config: DecoderConfig, take: Take, index: int) -> DecoderLayer:
    at, hidden = f"model.layers.{index}", config.hidden_size
    before, after, fed = "input_layernorm", "post_attention_layernorm", "post_feedforward_layernorm"
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim

    def rms(name: str, size: int = hidden) -> RMSNormWeight:
        return take.rms(f"{at}.{name}.weight", size)

    values: EmbeddingWeight | None = None
    if config.model_type == "phi3":
        qkv = LinearWeight((take.matrix(f"{at}.self_attn.qkv_proj.weight", q + 2 * kv, hidden),))
    else:
        names = [(f"{at}.self_attn.{part}_proj", rows) for part, rows in (("q", q), ("k", kv), ("v", kv))]
        if config.layers[index].value_embedding:
            names.append((f"{at}.self_attn.value_gate", config.num_key_value_heads))
            values = EmbeddingWeight(take.matrix(f"{at}.self_attn.value_embedding.weight", config.vocab_size, kv))
        qkv = take.linear(names, hidden, bias=bool(config.attention_bias))
    placed = {
        "pre": {"attention_norm": before, "mlp_norm": after},
        "post": {"attention_post_norm": after, "mlp_post_norm": fed},
        "both": {
            "attention_norm": before, "attention_post_norm": after,
            "mlp_norm": "pre_feedforward_layernorm", "mlp_post_norm": fed,
        },
    }[config.norm_placement]  # fmt: skip
    norms: dict[str, Any] = {field: rms(name) for field, name in placed.items()}
    qk = {"head": (config.head_dim, config.head_dim), "row": (q, kv)}.get(config.qk_norm)
    sparse = config.layers[index].sparse
    return DecoderLayer(
        qkv=qkv,
        attention_output=take.linear([(f"{at}.self_attn.o_proj", hidden)], q, bias=config.attention_bias == "all"),
        q_norm=rms("self_attn.q_norm", qk[0]) if qk else None,
        k_norm=rms("self_attn.k_norm", qk[1]) if qk else None,
        sinks=take.vector(f"{at}.self_attn.sinks", config.num_attention_heads) if config.attention_sinks else None,
        value_embedding=values,
        **norms,
        **({"experts": _experts(config, take, at)} if sparse else _dense(config, take, at)),
    )


def _dense(config: DecoderConfig, take: Take, at: str) -> dict[str, Any]:
    inner, hidden = config.intermediate_size, config.hidden_size
    if config.model_type == "phi3":
        gate, up = take.matrix(f"{at}.mlp.gate_up_proj.weight", 2 * inner, hidden).split(inner)
        first: GluWeight | LinearWeight = GluWeight(gate, up)
    elif config.gated:
        first = take.glu(f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj", inner, hidden, bias=config.mlp_bias)
    else:
        first = take.linear([(f"{at}.mlp.up_proj", inner)], hidden, bias=config.mlp_bias)
    return {"mlp_in": first, "mlp_out": take.linear([(f"{at}.mlp.down_proj", hidden)], inner, bias=config.mlp_bias)}


def _experts(config: DecoderConfig, take: Take, at: str) -> ExpertsParams:
    experts = config.experts
    assert experts is not None
    inner, hidden = experts.intermediate_size, config.hidden_size
    if config.model_type == "gpt_oss":
        return _gpt_oss(take, f"{at}.mlp", experts.count, inner, hidden)
    mixtral = config.model_type == "mixtral"
    mlp = f"{at}.block_sparse_moe" if mixtral and f"{at}.block_sparse_moe.gate.weight" in take else f"{at}.mlp"
    gate, down, up = ("w1", "w2", "w3") if mixtral else ("gate_proj", "down_proj", "up_proj")
    each = [f"{mlp}.experts.{index}" for index in range(experts.count)]
    return ExpertsParams(
        router=take.linear([(f"{mlp}.gate", experts.count)], hidden),
        gate_up=tuple(take.glu(f"{name}.{gate}", f"{name}.{up}", inner, hidden) for name in each),
        down=tuple(take.linear([(f"{name}.{down}", hidden)], inner) for name in each),
    )


def _gpt_oss(take: Take, mlp: str, count: int, inner: int, hidden: int) -> ExpertsParams:
    """Experts in one tensor: gate and up rows in turn; plain weights as [experts, in, out], blocks as rows."""
    both = take.stacked(f"{mlp}.experts.gate_up_proj", count, 2 * inner, hidden)
    last = take.stacked(f"{mlp}.experts.down_proj", count, hidden, inner)
    both_bias = take.vectors(f"{mlp}.experts.gate_up_proj_bias", count, 2 * inner)
    last_bias = take.vectors(f"{mlp}.experts.down_proj_bias", count, hidden)
    return ExpertsParams(
        router=take.linear([(f"{mlp}.router", count)], hidden, bias=True),
        gate_up=tuple(
            GluWeight(
                Matrix(rows.values[0::2], rows.format), Matrix(rows.values[1::2], rows.format), (bias[0::2], bias[1::2])
            )
            for rows, bias in zip(both, both_bias, strict=True)
        ),
        down=tuple(LinearWeight((rows,), (bias,)) for rows, bias in zip(last, last_bias, strict=True)),
    )


def _gpt2(config: DecoderConfig, take: Take) -> DecoderParams:
    hidden, inner = config.hidden_size, config.intermediate_size

    def norm(name: str) -> NormWeight:
        return NormWeight(take.vector(f"{name}.weight", hidden), take.vector(f"{name}.bias", hidden), config.norm_eps)

    def linear(name: str, rows: int, columns: int) -> LinearWeight:
        return LinearWeight((take.turned(f"{name}.weight", rows, columns),), (take.vector(f"{name}.bias", rows),))

    embed = take.matrix("transformer.wte.weight", config.vocab_size, hidden)
    layers = []
    for index in range(config.num_hidden_layers):
        at = f"transformer.h.{index}"
        layers.append(
            DecoderLayer(
                attention_norm=norm(f"{at}.ln_1"),
                qkv=linear(f"{at}.attn.c_attn", 3 * hidden, hidden),
                attention_output=linear(f"{at}.attn.c_proj", hidden, hidden),
                mlp_norm=norm(f"{at}.ln_2"),
                mlp_in=linear(f"{at}.mlp.c_fc", inner, hidden),
                mlp_out=linear(f"{at}.mlp.c_proj", hidden, inner),
            )
        )
    return DecoderParams(
        embed_tokens=EmbeddingWeight(embed),
        positions=EmbeddingWeight(take.matrix("transformer.wpe.weight", config.max_position_embeddings, hidden)),
        layers=tuple(layers),
        norm=norm("transformer.ln_f"),
        head=_head(config, take, embed),
    )

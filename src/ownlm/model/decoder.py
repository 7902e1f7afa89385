"""The decoder-only transformer, written once over ``ops``; its config says which of a family's habits apply."""

from __future__ import annotations

from ownlm.model.batch import Batch
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.ops.base import AttentionSpec, Ops
from ownlm.model.params import DecoderLayer, DecoderParams, Handle


def decode(ops: Ops, config: DecoderConfig, params: DecoderParams, batch: Batch, cache: Handle) -> Handle:
    """Logits [R, vocab_size] of the batch's wanted rows; its keys and values are in the cache afterwards."""
    x = embed(ops, config, params, batch)
    for index, layer in enumerate(params.layers):
        x = block(ops, config, index, layer, x, batch, cache)
    return unembed(ops, config, params, x, batch)


def embed(ops: Ops, config: DecoderConfig, params: DecoderParams, batch: Batch) -> Handle:
    """[T, hidden_size]: what the first block is given."""
    lookups = [(batch.ids, params.embed_tokens)]
    if params.positions is not None:
        lookups.append((batch.positions, params.positions))
    return ops.embed(lookups, config.embedding_scale)


def block(
    ops: Ops, config: DecoderConfig, index: int, layer: DecoderLayer, x: Handle, batch: Batch, cache: Handle
) -> Handle:
    """[T, hidden_size]: one layer, attention then feed-forward."""
    x = _attend(ops, config, index, layer, x, batch, cache)
    return _feed_forward(ops, config, index, layer, x)


def unembed(ops: Ops, config: DecoderConfig, params: DecoderParams, x: Handle, batch: Batch) -> Handle:
    """Logits [R, vocab_size] from what the last block gives."""
    return ops.logits(_norm(ops, config, x, params.norm), params.head, batch, config.logits_scale, config.final_softcap)


def _attend(
    ops: Ops, config: DecoderConfig, index: int, layer: DecoderLayer, x: Handle, batch: Batch, cache: Handle
) -> Handle:
    spec = _attention(config, index, layer)
    q = ops.qkv_rope(_norm(ops, config, x, layer.attention_norm), layer.qkv, spec, cache, batch)
    mixed = ops.cached_attention(q, spec, cache, batch)
    return _added(ops, config, mixed, layer.attention_output, layer.attention_post_norm, x)


def _feed_forward(ops: Ops, config: DecoderConfig, index: int, layer: DecoderLayer, x: Handle) -> Handle:
    normed = _norm(ops, config, x, layer.mlp_norm)
    if layer.experts is not None:
        assert config.experts is not None
        return ops.moe(normed, layer.experts, config.experts, x, config.residual_scale)
    if config.gated:
        assert config.activation != "relu2"
        inner = ops.glu_linear(normed, layer.mlp_in, config.activation)
    else:
        assert config.activation in ("gelu", "gelu_tanh", "relu2")
        inner = ops.linear(normed, layer.mlp_in, activation=config.activation)
    return _added(ops, config, inner, layer.mlp_out, layer.mlp_post_norm, x)


def _norm(ops: Ops, config: DecoderConfig, x: Handle, w: Handle) -> Handle:
    if w is None:
        return x
    return ops.layer_norm(x, w) if config.norm == "layer" else ops.rms_norm(x, w)


def _added(ops: Ops, config: DecoderConfig, y: Handle, w: Handle, norm: Handle, x: Handle) -> Handle:
    """x and what a block adds to it: y projected, and normed where the family norms that."""
    if norm is None:
        return ops.linear(y, w, residual=x, residual_scale=config.residual_scale)
    return ops.rms_norm(ops.linear(y, w), norm, residual=x)


def _attention(config: DecoderConfig, index: int, layer: DecoderLayer) -> AttentionSpec:
    facts = config.layers[index]
    return AttentionSpec(
        layer=index,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        scale=config.attention_scale,
        window=facts.window,
        softcap=config.attention_softcap,
        rope=facts.rope,
        q_norm=layer.q_norm,
        k_norm=layer.k_norm,
        whole_row_norm=config.qk_norm == "row",
        sinks=layer.sinks,
        value_table=layer.value_embedding,
    )

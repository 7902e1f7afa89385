"""The BERT-type encoder, written once over ``ops``. Devlin et al. 2018, https://arxiv.org/abs/1810.04805"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ownlm.model.config import BertConfig
from ownlm.model.ops.base import Ids, Ops
from ownlm.model.params import EncoderParams, Handle


def encode(
    ops: Ops, config: BertConfig, params: EncoderParams, ids: Ids, cu_seqlens: Ids, token_types: Ids | None = None
) -> Handle:
    """Hidden states [T, hidden_size] of a packed batch (see ``ops.base``); ``token_types`` default to 0."""
    positions = positions_in_sequence(cu_seqlens)
    types = np.zeros_like(ids) if token_types is None else token_types
    x = ops.embed(
        (
            (ids, params.word_embeddings),
            (positions, params.position_embeddings),
            (types, params.token_type_embeddings),
        )
    )
    x = ops.layer_norm(x, params.embeddings_norm)
    for layer in params.layers:
        mixed = ops.attention(ops.linear(x, layer.qkv), cu_seqlens, config.num_attention_heads)
        x = ops.layer_norm(ops.linear(mixed, layer.attention_output, residual=x), layer.attention_norm)
        inner = ops.linear(x, layer.intermediate, activation=config.activation)
        x = ops.layer_norm(ops.linear(inner, layer.output, residual=x), layer.output_norm)
    return x


def positions_in_sequence(cu_seqlens: Ids) -> NDArray[np.int32]:
    """[T]: 0, 1, 2, ... from the start of each sequence."""
    lengths = np.diff(cu_seqlens)
    return np.arange(cu_seqlens[-1], dtype=np.int32) - np.repeat(cu_seqlens[:-1], lengths)

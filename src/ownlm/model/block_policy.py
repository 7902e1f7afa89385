"""Which block format each matrix of a model takes when the model is quantized: one rule for writing and for training.

Matrices of the layers take the format asked for; tables over the vocabulary and the head, whose errors reach every
token, take at least 8 bits; routers, positions, and what has rows of no whole blocks stay float32.
"""

from __future__ import annotations

import numpy as np

from ownlm.formats import FORMATS
from ownlm.model.safetensors import Tensor

OUTER = ("model.embed_tokens.weight", "lm_head.weight", "transformer.wte.weight", "wte.weight")
"""Tables over the vocabulary; so are those whose names end in ``_VALUES``."""
_VALUES = ".value_embedding.weight"
_FLOAT = ("mlp.gate.weight", "block_sparse_moe.gate.weight", "router.weight", "wpe.weight", "_bias")
_TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def is_turned(name: str, dimensions: int = 2) -> bool:
    """Whether a checkpoint has plain numbers as [.., in, out] there, where blocks are rows [.., out, in]: GPT-2's
    projections and gpt-oss's experts.
    """
    return dimensions == 3 or name.endswith(_TURNED)


def plain(tensor: Tensor) -> Tensor:
    """The way back from blocks: float32 in the checkpoint's own order; other tensors as they are."""
    if not tensor.format:
        return tensor
    weights = tensor.float32()
    if is_turned(tensor.name, weights.ndim):
        weights = np.ascontiguousarray(weights.swapaxes(-1, -2))
    return Tensor(tensor.name, "F32", weights)


def format_of(name: str, columns: int, to: str) -> str:
    """The format of a tensor of the checkpoint whose rows have ``columns`` weights; "" where it stays float32.

    >>> format_of("model.layers.0.mlp.up_proj.weight", 256, "q4_0"), format_of("lm_head.weight", 256, "q4_0")
    ('q4_0', 'q8_0')
    """
    if name.endswith(_FLOAT):
        return ""
    form = FORMATS["q8_0" if name in OUTER or name.endswith(_VALUES) else to]
    return "" if columns % form.block else form.name

"""Which block format each matrix of a model takes when the model is quantized: one rule for writing and for training.

Matrices of the layers take the format asked for; tables over the vocabulary and the head, whose errors reach every
token, take at least 8 bits; routers, positions, and what has rows of no whole blocks stay float32.
"""

from __future__ import annotations

from ownlm.formats import FORMATS

OUTER = ("model.embed_tokens.weight", "lm_head.weight", "transformer.wte.weight", "wte.weight")
"""Tables over the vocabulary; so are those whose names end in ``_VALUES``."""
_VALUES = ".value_embedding.weight"
_FLOAT = ("mlp.gate.weight", "block_sparse_moe.gate.weight", "router.weight", "wpe.weight", "_bias")


def format_of(name: str, columns: int, to: str) -> str:
    """The format of a tensor of the checkpoint whose rows have ``columns`` weights; "" where it stays float32.

    >>> format_of("model.layers.0.mlp.up_proj.weight", 256, "q4_0"), format_of("lm_head.weight", 256, "q4_0")
    ('q4_0', 'q8_0')
    """
    if name.endswith(_FLOAT):
        return ""
    form = FORMATS["q8_0" if name in OUTER or name.endswith(_VALUES) else to]
    return "" if columns % form.block else form.name

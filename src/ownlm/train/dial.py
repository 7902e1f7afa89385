"""One dial: ``depth`` says how large a model is, and from it follow its shape and how it is trained.

>>> small = dial(4, 8_192, context=512)
>>> small.shape.width, small.shape.heads, small.shape.kv_heads, small.shape.ffn, small.batch_tokens
(256, 4, 2, 768, 16384)
>>> dial(4, 8_192, context=512, corpus_tokens=5_000_000).tokens
19996672
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ownlm.errors import InvalidSetting
from ownlm.train.shape import Kind, Shape

DEEPEST = 64
ROW = 256
"""Every row of a projection is so many weights, or a multiple: then every format of blocks can hold it."""
TOKENS_PER_PARAMETER = 20.0
"""Hoffmann et al. 2022, arXiv:2203.15556: what a budget of compute is best spent on."""
EPOCHS = 4.0
"""Muennighoff et al. 2023, arXiv:2305.16264: so often the same text is worth almost what new text is."""
LEAST_BATCH = 4096
"""Tokens of a step beside which Muon's orthogonalization costs little on a processor: a tenth, at width 256."""


@dataclass(frozen=True, slots=True)
class LearningRates:
    """Peak learning rates. ``matrices``: Muon's, for updates that are orthogonal and scaled by
    sqrt(max(1, rows / columns)). AdamW's: ``embeddings`` (a tied head with them), ``value_embeddings``, ``head``
    (untied), ``gains`` (everything of one dimension). ``weight_decay`` is for the matrices.
    """

    matrices: float
    embeddings: float
    value_embeddings: float
    head: float
    gains: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class Dial:
    """What a depth comes to. ``decay_share`` of the ``steps`` lie in the linear decay, ``warmup_steps`` before the
    flat part. ``epochs``: how often each token of the corpus is seen, if its size was told; ``data_bound``: the corpus
    set the horizon, not the compute.
    """

    shape: Shape
    batch_tokens: int
    steps: int
    warmup_steps: int
    decay_share: float
    rates: LearningRates
    epochs: float | None = None
    data_bound: bool = False

    @property
    def tokens(self) -> int:
        """Tokens that training sees."""
        return self.steps * self.batch_tokens

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole training."""
        return float(self.shape.flops_per_token()) * self.tokens


def dial(
    depth: int,
    vocab_size: int,
    *,
    kind: Kind = "qwen3",
    context: int = 1024,
    tied: bool = True,
    corpus_tokens: int | None = None,
    epochs: float = EPOCHS,
    tokens: int | None = None,
) -> Dial:
    """The settings of a model ``depth`` layers deep over a tokenizer of ``vocab_size`` entries.

    The horizon is ``TOKENS_PER_PARAMETER`` a multiplied parameter, but at most ``epochs`` over the ``corpus_tokens``;
    or ``tokens``, if it is told. Raises InvalidSetting.
    """
    _admit("depth", depth, 1, DEEPEST)
    _admit("vocab_size", vocab_size, 2, 1 << 22)
    _admit("context", context, 16, 1 << 20)
    for name, value in (("corpus_tokens", corpus_tokens), ("tokens", tokens)):
        if value is not None and value < 1:
            raise InvalidSetting(name, value, "give a number of tokens above 0")
    if not 0 < epochs < math.inf:
        raise InvalidSetting("epochs", epochs, f"give a number above 0, such as {EPOCHS}")
    shape = shape_of(depth, vocab_size, kind=kind, context=context, tied=tied)
    horizon, data_bound = float(TOKENS_PER_PARAMETER * shape.multiplied), False
    if corpus_tokens is not None and corpus_tokens * epochs < horizon:
        horizon, data_bound = corpus_tokens * epochs, True
    if tokens is not None:
        horizon, data_bound = float(tokens), False
    batch = batch_tokens(horizon, context)
    steps = max(1, round(horizon / batch))
    warmup = min(max(10, steps // 50), 100, 1 + steps // 10)
    return Dial(
        shape=shape,
        batch_tokens=batch,
        steps=steps,
        warmup_steps=warmup,
        decay_share=0.6,
        rates=learning_rates(shape.width, batch),
        epochs=None if corpus_tokens is None else steps * batch / corpus_tokens,
        data_bound=data_bound,
    )


def shape_of(depth: int, vocab_size: int, *, kind: Kind = "qwen3", context: int = 1024, tied: bool = True) -> Shape:
    """The shape: 64 of width a layer, in steps of 256, so that the vocabulary does not outweigh the layers; as many
    weights in the feed-forward for both kinds, 8 width^2, or the multiple of 256 next to it.
    """
    width = ROW * max(1, math.floor(64 * depth / ROW + 0.5))
    head_dim = 64 if width < 1024 else 128
    inner = 8 * width / 3 if kind == "qwen3" else 4 * width
    return Shape(
        kind=kind,
        depth=depth,
        width=width,
        heads=width // head_dim,
        kv_heads=width // head_dim // 2,
        head_dim=head_dim,
        ffn=ROW * round(inner / ROW),
        vocab_size=-(-vocab_size // 64) * 64,
        context=context,
        tied=tied,
        softcap=15.0 if kind == "ownlm" else None,
    )


def batch_tokens(horizon: float, context: int) -> int:
    """Tokens a step: 0.58 * horizon^0.571 (Li et al. 2025, "Step Law", arXiv:2503.04715), as the power of two next to
    it in whole texts. Short runs take more, up to ``LEAST_BATCH``, as long as they have 100 steps.
    """
    best = max(0.58 * horizon**0.571, min(LEAST_BATCH, horizon / 100))
    return context << max(0, round(math.log2(best / context)))


def learning_rates(width: int, batch: int) -> LearningRates:
    """Rates that fit width 768 and 2^19 tokens a step, carried over: AdamW's by width^-1/2 for what is multiplied, and
    all by the fourth root of the batch, between none (Muon's steps are of one length) and the square root (noise).
    """
    noise = (batch / 2**19) ** 0.25
    wide = (width / 768) ** -0.5
    return LearningRates(
        matrices=0.02 * noise,
        embeddings=0.004 * wide * noise,
        value_embeddings=0.1 * noise,
        head=0.004 * wide * noise,
        gains=0.01 * noise,
        weight_decay=0.1,
    )


def _admit(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidSetting(name, value, f"give a number from {least} to {most}")

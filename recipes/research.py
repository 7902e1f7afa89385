"""The research decoder on the text of `tiny.py`, for as much compute: `ownlm train recipes/research.py`.

Squared ReLU without a gate, value embeddings with a gate on every other layer, capped logits: what pays at small
scale. It runs on OwnLM's own engine and nowhere else; what ships has Qwen3's shape. `benchmarks/architectures.py`
compares the two, part by part.
"""

from __future__ import annotations

import dataclasses

import tiny

from ownlm.train.dial import dial
from ownlm.train.recipe import Fresh, Recipe


def recipe(depth: int = 2) -> Recipe:
    """A model of ``depth`` layers, which sees the tokens that `tiny`'s operations buy it."""
    shipped = tiny.recipe(depth)
    budget = dial(depth, tiny.VOCABULARY, context=tiny.LENGTH, tokens=tiny.TOKENS).flops
    shape = dial(depth, tiny.VOCABULARY, kind="ownlm", context=tiny.LENGTH).shape
    steps = max(1, round(budget / (shape.flops_per_token(tiny.LENGTH) * shipped.batch * shipped.length)))
    assert isinstance(shipped.model, Fresh)
    return dataclasses.replace(
        shipped,
        name="research",
        model=Fresh({**shipped.model.config, **shape.config()}, shipped.model.tokenizer),
        schedule=dataclasses.replace(shipped.schedule, steps=steps),
    )

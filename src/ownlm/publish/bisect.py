"""Where two computations of the same weights part: the first layer after which they do not agree.

Each is cut short behind a layer, its final norm and head kept: whatever the side computes, its kernels run as they do
in the whole model, and nothing has to be looked at inside of them.
"""

from __future__ import annotations

import dataclasses
import importlib.util

from ownlm.model import ops as sides
from ownlm.model.agreement import agreement
from ownlm.model.memory import BLOCK_SIZE
from ownlm.model.opened import Ids, OpenDecoder, window_of
from ownlm.publish.side import Side

_TOKENS = 64


def arithmetic(side: Side, ids: Ids, mean_kl: float) -> str | None:
    """Where serving computes a model otherwise than torch does, in words; None if it does not, or nobody can tell."""
    if importlib.util.find_spec("torch") is None or side.ops == "torch":
        return None
    oracle = dataclasses.replace(side, ops="torch")
    if _agree(oracle, side, ids, mean_kl, side.config.num_hidden_layers):
        return None
    return parting(oracle, side, ids, mean_kl)


def parting(reference: Side, candidate: Side, ids: Ids, mean_kl: float) -> str:
    """In words. ``ids``: a text, of which the first tokens are read; ``mean_kl``: what still counts as agreement."""
    if not _agree(reference, candidate, ids, mean_kl, 0):
        return "embeddings, final norm and head alone give other logits"
    low, high = 0, candidate.config.num_hidden_layers  # they agree after ``low`` layers, and not after ``high``
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _agree(reference, candidate, ids, mean_kl, middle) else (low, middle)
    return f"they part in layer {high - 1}" + (f" and agree up to layer {low - 1}" if low else "")


def _agree(reference: Side, candidate: Side, ids: Ids, mean_kl: float, layers: int) -> bool:
    part = ids[: min(_TOKENS, window_of(reference.config)) + 1]
    first, second = (_cut(side, layers).read for side in (reference, candidate))
    return agreement(first, second, [part]).mean_kl <= mean_kl


def _cut(side: Side, layers: int) -> OpenDecoder:
    """A model of the first ``layers`` of its layers; a trainer's is computed by torch."""
    config = dataclasses.replace(side.config, layers=side.config.layers[:layers])
    params = dataclasses.replace(side.params, layers=side.params.layers[:layers])
    ops = side.ops if side.ops in sides.SIDES else "torch"
    return OpenDecoder(sides.load(ops), config, params, blocks=-(-window_of(config) // BLOCK_SIZE))

"""How good a model in training is by now, over rows that it does not learn from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from ownlm.train.precision import multiplying
from ownlm.train.rows import in_order

if TYPE_CHECKING:
    from ownlm.train.trainer import Trainer


def measure(trainer: Trainer) -> dict[str, Any]:
    """The loss, and the bits per byte, with the weights that would be written. All processes call it."""
    if trainer.data.valid is None:
        return {}
    recipe, device, dtype = trainer.recipe, trainer.device, trainer.dtype
    total, count = 0.0, 0
    batches = in_order(trainer.data.valid, trainer.feed.micro, recipe.measured_rows)
    with trainer.averaged(), torch.no_grad():
        for batch, counts in trainer.world.dealt(batches):
            with multiplying(device, dtype):
                found = recipe.loss(trainer.model, batch.to(device))
            if counts:
                total += found.sum.item()
                count += found.count
    sums = trainer.world.sums({"loss": total, "count": count})
    loss = sums["loss"] / max(1, sums["count"])
    measured: dict[str, Any] = {"valid_loss": loss}
    if trainer.data.tokens_per_byte is not None:
        measured["valid_bits_per_byte"] = loss / math.log(2) * trainer.data.tokens_per_byte
    return measured

"""Cross-entropy over a large vocabulary without ever holding all logits.

A chunk of rows at a time, its logits are made, their loss and gradient taken, and the logits dropped: memory is that of
one chunk (the idea of Liger Kernel, Hsu et al. 2024, arXiv:2410.10989, and of Cut Cross-Entropy, arXiv:2411.09009).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from ownlm.train.batch import IGNORED, TrainBatch
from ownlm.train.decoder import Decoder
from ownlm.train.ops import Hidden

CHUNK = {"cpu": 512, "cuda": 8192}
"""Rows whose logits are held together: on a CPU so few that they stay near its cache."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """The sum over ``count`` tokens (or pairs); ``metrics`` are further sums.

    A step's loss is the sum over all its parts, divided by all counts: so it does not matter how a batch was split.
    """

    sum: Tensor
    count: int
    metrics: Mapping[str, float] = field(default_factory=dict)


Loss = Callable[[Decoder, TrainBatch], LossSum]


def cross_entropy(model: Decoder, batch: TrainBatch) -> LossSum:
    """Nats of every token that is to be learnt."""
    hidden, targets = wanted(model(batch), batch.targets)
    weight = hidden.head.value()
    if not torch.is_grad_enabled():
        weight = weight.detach()  # a Function is told what could learn, not whether anything does
    total = _Fused.apply(  # type: ignore[no-untyped-call]
        hidden.x, weight, hidden.head.bias, targets, hidden.scale, hidden.softcap
    )
    return LossSum(total, len(targets))


def wanted(hidden: Hidden, targets: Tensor) -> tuple[Hidden, Tensor]:
    """The rows with something to learn, and what."""
    rows = torch.nonzero(targets != IGNORED).squeeze(1)
    if len(rows) == len(targets):
        return hidden, targets
    return Hidden(hidden.x[rows], hidden.head, hidden.scale, hidden.softcap), targets[rows]


def token_losses(hidden: Hidden, targets: Tensor) -> Tensor:
    """[R] nats of each row, for losses that weigh them: chunks are computed again in the backward pass."""

    def chunk(x: Tensor, y: Tensor) -> Tensor:
        logits = Hidden(x, hidden.head, hidden.scale, hidden.softcap).logits()
        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    size = CHUNK[hidden.x.device.type]
    found = [
        recomputed(chunk, hidden.x[at : at + size], targets[at : at + size], use_reentrant=False)
        for at in range(0, len(targets), size)
    ]
    return torch.cat(found)


class _Fused(torch.autograd.Function):
    """The sum of the losses; gradients are made on the way, so that a chunk's logits are made once."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        total = x.new_zeros((), dtype=torch.float32)
        size = CHUNK[x.device.type]
        learns = (x.requires_grad, weight.requires_grad, bias is not None and bias.requires_grad)
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        x_used, w_used = x.to(dtype), weight.to(dtype)
        dx = torch.empty_like(x) if learns[0] else None
        dw = torch.zeros_like(weight, dtype=torch.float32) if learns[1] else None
        db = torch.zeros_like(bias) if learns[2] and bias is not None else None
        with torch.autocast(x.device.type, enabled=False):
            for at in range(0, len(targets), size):
                part, y = x_used[at : at + size], targets[at : at + size, None]
                logits = (part @ w_used.T).float()
                if bias is not None:
                    logits += bias
                if scale != 1:
                    logits *= scale
                capped = None
                if softcap is not None:
                    capped = torch.tanh(logits / softcap)
                    logits = capped * softcap
                most = logits.amax(1, keepdim=True)
                right = logits.gather(1, y)
                grad = logits.sub_(most).exp_()
                norm = grad.sum(1, keepdim=True)
                total += (norm.log() + most - right).sum()
                if not any(learns):
                    continue
                grad.div_(norm)
                grad.scatter_add_(1, y, torch.full_like(y, -1, dtype=grad.dtype))
                if capped is not None:
                    grad *= 1 - capped * capped
                if scale != 1:
                    grad *= scale
                if db is not None:
                    db += grad.sum(0)
                grad = grad.to(dtype)
                if dx is not None:
                    dx[at : at + size] = grad @ w_used
                if dw is not None:
                    dw += grad.T @ part
        ctx.save_for_backward(dx, dw, db)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found = [None if part is None else part * gradients[0] for part in ctx.saved_tensors]
        return found[0], found[1], found[2], None, None, None

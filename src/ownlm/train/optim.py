"""One optimizer for a decoder's parameters: Muon for hidden matrices, AdamW for the rest, by role.

Weight decay is cautious: a weight decays only where the step shrinks it too (Chen et al. 2025, arXiv:2510.12402).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ownlm.train import muon
from ownlm.train.dial import LearningRates
from ownlm.train.distributed import local, of_whole

Role = Literal["matrices", "embeddings", "value_embeddings", "head", "gains", "adapters"]
BETAS = (0.9, 0.95)
EPSILON = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """Peak learning rates by role; ``adapters``: AdamW's for low-rank adapters. Without ``muon`` every role is
    AdamW's. ``clip``: the largest norm of a step's gradient."""

    rates: LearningRates
    adapters: float = 2e-4
    muon: bool = True
    clip: float = 1.0

    @classmethod
    def adamw(cls, rate: float, *, weight_decay: float = 0.0, clip: float = 1.0) -> OptimizerSettings:
        """AdamW with one rate for everything: what tuning uses."""
        rates = LearningRates(rate, rate, rate, rate, rate, weight_decay)
        return cls(rates=rates, adapters=rate, muon=False, clip=clip)


def role_of(name: str, parameter: nn.Parameter) -> Role:
    """What a parameter of a ``Decoder`` is to the optimizer.

    >>> role_of("blocks.0.qkv.parts.1.weight", nn.Parameter(torch.zeros(2, 2)))
    'matrices'
    """
    if "lora_" in name or "adapter" in name:
        return "adapters"
    if "value_embedding" in name:
        return "value_embeddings"
    if parameter.dim() < 2:
        return "gains"
    if name.startswith(("embed_tokens", "positions")):
        return "embeddings"
    return "head" if name.startswith("head") else "matrices"


class Optimizer(torch.optim.Optimizer):
    """``step`` moves every trainable parameter of a model by the current ``factor`` of its role's peak rate."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings) -> None:
        by_role: dict[Role, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in parameters:
            if parameter.requires_grad:
                by_role[role_of(name, parameter)].append(parameter)
        groups: list[dict[str, Any]] = []
        for role, members in by_role.items():
            rate = settings.adapters if role == "adapters" else getattr(settings.rates, role)
            decay = settings.rates.weight_decay if role in ("matrices", "adapters") else 0.0
            by_muon = settings.muon and role == "matrices"
            groups.append({"params": members, "role": role, "peak": rate, "decay": decay, "muon": by_muon})
        super().__init__(groups, {"factor": 0.0})

    def set_factor(self, factor: float) -> None:
        """The share of the peak rates that the next step uses."""
        for group in self.param_groups:
            group["factor"] = factor

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the parameters' gradients."""
        for group in self.param_groups:
            members = [parameter for parameter in group["params"] if parameter.grad is not None]
            rate = group["peak"] * group["factor"]
            if group["muon"]:
                self._muon(members, rate, group["decay"])
            else:
                self._adamw(members, rate, group["decay"])

    def _muon(self, members: list[nn.Parameter], rate: float, decay: float) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in members:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            by_shape[parameter.shape].append(parameter)
        for same in by_shape.values():
            momenta = [local(self.state[parameter]["momentum"]) for parameter in same]
            stacked = torch.stack(momenta)
            wanted = muon.mixed(torch.stack([local(_grad(parameter)) for parameter in same]), stacked)
            steps = of_whole(muon.direction, wanted, same[0])
            for parameter, momentum, kept, step in zip(same, momenta, stacked, steps, strict=True):
                momentum.copy_(kept)
                _move(local(parameter), step, rate, decay)

    def _adamw(self, members: list[nn.Parameter], rate: float, decay: float) -> None:
        first, second = BETAS
        for parameter in members:
            state, gradient = self.state[parameter], local(_grad(parameter)).float()
            if "mean" not in state:
                state["step"] = torch.zeros(())
                state["mean"] = torch.zeros_like(parameter, dtype=torch.float32)
                state["square"] = torch.zeros_like(parameter, dtype=torch.float32)
            state["step"] += 1
            count, mean, square = int(state["step"]), local(state["mean"]), local(state["square"])
            mean.lerp_(gradient, 1 - first)
            square.lerp_(gradient.square(), 1 - second)
            scale = (square / (1 - second**count)).sqrt_().add_(EPSILON)
            _move(local(parameter), mean / (1 - first**count) / scale, rate, decay)


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _move(parameter: Tensor, step: Tensor, rate: float, decay: float) -> None:
    if decay:
        step = step + decay * parameter * (step * parameter > 0)
    parameter.add_(step.to(parameter.dtype), alpha=-rate)

"""The moving average of a run's weights: what is measured and written, where a recipe asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ownlm.train.distributed import World


class Average:
    """``share`` is what the average keeps each step; None: there is none, and the weights are themselves.

    ``values`` are None before the first step.
    """

    def __init__(self, model: nn.Module, share: float | None, world: World) -> None:
        self.model, self.share, self.world = model, share, world
        self.values: dict[str, Tensor] | None = None

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After the update with that number, counted from 0; over the first, where it would lag, their mean."""
        if self.share is None:
            return
        if self.values is None:
            self.values = {name: parameter.detach().clone() for name, parameter in self._trained()}
        weight = 1 - min(self.share, (step + 1) / (step + 10))
        for name, parameter in self._trained():
            self.values[name].lerp_(parameter, weight)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the averaged weights, if there are such."""
        if self.values is None:
            yield
            self.world.scatter(self.model)
            return
        kept = {name: parameter.detach().clone() for name, parameter in self._trained()}
        try:
            self._put(self.values)
            yield
        finally:
            self.world.scatter(self.model)
            self._put(kept)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._trained():
            parameter.copy_(values[name])

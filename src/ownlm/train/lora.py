"""Low-rank adapters on the linear layers of a frozen model.

LoRA (Hu et al. 2021, arXiv:2106.09685): y = x W^T + scaling * (x A^T) B^T, with A [rank, K] and B [N, rank], which
begins at zero. DoRA (Liu et al. 2024, arXiv:2402.09353): the rows of W + scaling * B A keep a learnt length m [N]; as
there, the gradient does not pass through the division. W stays as it is stored: float32, bfloat16 or blocks (QLoRA).
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.errors import InvalidSetting
from ownlm.train.decoder import Decoder
from ownlm.train.modules import Projection, Rounding, Table

# Experts share one tensor in other libraries, and routers are no linear layers there.
_APART = re.compile(r"\.experts\.|\.(mlp|block_sparse_moe)\.gate$|\.router$")


class Adapter(nn.Module):
    """A and B of one linear layer, whose name is the tensor's of the checkpoint without ``.weight``; DoRA's lengths."""

    def __init__(
        self, name: str, shape: tuple[int, int], rank: int, alpha: float, scaling: float | None = None
    ) -> None:
        super().__init__()
        rows, columns = shape
        self.name, self.rank, self.alpha = name, rank, alpha
        self.scaling = alpha / rank if scaling is None else scaling
        self.a = nn.Parameter(torch.empty(rank, columns))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.lengths: nn.Parameter | None = None


class Adapted(nn.Module):
    """A projection with the rows of an adapter from ``first`` on; ``rounding`` is that of the sum of both."""

    rounding: Rounding | None = None
    enabled = True

    def __init__(self, base: Projection, adapter: Adapter) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter
        self.rows = slice(base.matrix.first, base.matrix.first + base.matrix.rows)

    @property
    def bias(self) -> nn.Parameter | None:
        """The base's."""
        return self.base.bias

    def value(self) -> Tensor:
        """float32 [N, K]: base and adapter as one weight."""
        if not self.enabled:
            return self.base.value().float()
        found = self._sum()
        if self.adapter.lengths is not None:
            found = self._factor(found)[:, None] * found
        return found if self.rounding is None else self.rounding(found)

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return self.base.forward(x)
        if self.rounding is not None:
            return F.linear(x, self.value(), self.bias)
        low = F.linear(F.linear(x, self.adapter.a), self.adapter.b[self.rows]) * self.adapter.scaling
        if self.adapter.lengths is None:
            return self.base.forward(x) + low
        with torch.no_grad():
            whole = self._sum()
        y = (self.base.product(x) + low) * self._factor(whole)
        return y if self.bias is None else y + self.bias

    def _sum(self) -> Tensor:
        return self.base.value().float() + (self.adapter.b[self.rows] @ self.adapter.a) * self.adapter.scaling

    def _factor(self, whole: Tensor) -> Tensor:
        assert self.adapter.lengths is not None
        factor: Tensor = self.adapter.lengths[self.rows] / torch.linalg.norm(whole.detach(), dim=1)
        return factor


def adaptable(model: Decoder) -> dict[str, list[Projection]]:
    """The linear layers of the blocks that adapters go on, by name: all but experts and routers."""
    tables = {id(part.projection) for part in model.modules() if isinstance(part, Table)}
    return {
        name: parts
        for name, parts in model.projections().items()
        if not _APART.search(name) and not any(id(part) in tables for part in parts)
    }


def adapt(model: Decoder, adapters: dict[str, Adapter]) -> None:
    """Put adapters, by the names of ``adaptable``, in the places of what they adapt."""
    layers = adaptable(model)
    made = {id(part): Adapted(part, adapter) for name, adapter in adapters.items() for part in layers[name]}
    for module in list(model.blocks.modules()):
        for name, child in list(module.named_children()):
            if id(child) in made and not isinstance(module, Adapted):
                module.add_module(name, made[id(child)])  # also in a ModuleList, whose names are numbers


def adapters(model: Decoder) -> dict[str, Adapter]:
    """The model's adapters by name."""
    return {part.name: part for part in model.modules() if isinstance(part, Adapter)}


@contextlib.contextmanager
def without_adapters(model: Decoder) -> Iterator[None]:
    """Within, the model is its base."""
    parts = [part for part in model.modules() if isinstance(part, Adapted) and part.enabled]
    for part in parts:
        part.enabled = False
    try:
        yield
    finally:
        for part in parts:
            part.enabled = True


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """``rank`` of A and B; ``alpha`` / ``rank`` scales what they add; ``dora``: see above."""

    rank: int = 16
    alpha: float = 32.0
    dora: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidSetting("rank", self.rank, "give at least 1")
        if not 0 < self.alpha < math.inf:
            raise InvalidSetting("alpha", self.alpha, "give a number above 0")


def new_adapters(model: Decoder, settings: AdapterSettings) -> None:
    """Adapters that change nothing yet, on every layer of ``adaptable``; nothing else is trained from now on."""
    source = torch.Generator().manual_seed(settings.seed)
    model.requires_grad_(False)
    made: dict[str, Adapter] = {}
    for name, parts in adaptable(model).items():
        rows, columns = sum(part.shape[0] for part in parts), parts[0].shape[1]
        adapter = Adapter(name, (rows, columns), settings.rank, settings.alpha)
        bound = 1 / math.sqrt(columns)
        with torch.no_grad():
            adapter.a.uniform_(-bound, bound, generator=source)
            if settings.dora:
                weight = torch.cat([part.value().float() for part in sorted(parts, key=lambda part: part.matrix.first)])
                adapter.lengths = nn.Parameter(torch.linalg.norm(weight, dim=1))
        made[name] = adapter
    adapt(model, made)

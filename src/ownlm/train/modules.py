"""The parameter tree of a decoder in training: ``DecoderParams``, whose leaves are small modules with the weights.

The forward is the one of ``model/decoder.py``. A leaf is a module, so that FSDP can shard it, an adapter can stand in
its place, and an optimizer finds its parameters by name: ``blocks.3.qkv.parts.0.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.formats import FORMATS
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, LinearWeight, Matrix, NormWeight, RMSNormWeight
from ownlm.train.blocks import PLAIN, dense, frozen_linear

Rounding = Callable[[Tensor], Tensor]


class Projection(nn.Module):
    """x W^T + b, W [N, K]. ``matrix`` says which rows of which tensor of the checkpoint it is.

    ``rounding`` is applied to the weight at every use (quantization-aware training). A quantized matrix stays in its
    blocks, frozen, and is dequantized at use.
    """

    rounding: Rounding | None = None
    blocks: Tensor | None

    def __init__(self, matrix: Matrix, bias: NDArray[np.float32] | None) -> None:
        super().__init__()
        self.matrix = matrix
        self.stored_bias = bias
        self.bias = None if bias is None else nn.Parameter(torch.from_numpy(np.array(bias, np.float32)))
        if matrix.format in FORMATS:
            self.register_buffer("blocks", torch.from_numpy(np.ascontiguousarray(matrix.values)), persistent=False)
            self.weight: nn.Parameter | None = None
        else:
            self.blocks = None
            self.weight = nn.Parameter(values_of(matrix))

    @property
    def name(self) -> str:
        """The tensor of the checkpoint without ``.weight``; "" where it is not rows of one."""
        return self.matrix.name.removesuffix(".weight")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K): outputs and inputs."""
        columns = self.matrix.values.shape[1]
        form = FORMATS.get(self.matrix.format)
        return self.matrix.rows, columns if form is None else columns // form.bytes * form.block

    def value(self) -> Tensor:
        """[N, K]: the weight as it is used."""
        if self.weight is None:
            assert self.blocks is not None
            return dense(self.blocks, self.matrix.format)
        return self.weight if self.rounding is None else self.rounding(self.weight)

    def rows(self, ids: Tensor) -> Tensor:
        """[T, K]: some of the rows, float32 where they are frozen as they are stored."""
        if self.blocks is not None:
            return dense(self.blocks[ids], self.matrix.format)
        found = F.embedding(ids, self.value())
        return found if self._trained() else found.float()

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.bias)

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x W^T, and a bias."""
        if self.blocks is not None:
            return frozen_linear(x, self.blocks, self.matrix.format, bias)
        if self._trained() or self.rounding is not None:
            return F.linear(x, self.value(), bias)
        assert self.weight is not None
        return frozen_linear(x, self.weight, PLAIN, bias)

    def _trained(self) -> bool:
        return self.weight is not None and self.weight.requires_grad

    def store(self) -> None:
        """Copy the parameters into the arrays that they came from."""
        if self.weight is not None:
            put(self.weight, self.matrix.values)
        if self.bias is not None and self.stored_bias is not None:
            put(self.bias, self.stored_bias)


class Stack(nn.Module):
    """Projections of the same x, side by side."""

    def __init__(self, parts: list[Projection]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        found = [part(x) for part in self.parts]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)


class Glu(nn.Module):
    """Gate and up projection."""

    def __init__(self, gate: Projection, up: Projection) -> None:
        super().__init__()
        self.gate, self.up = gate, up


class Rms(nn.Module):
    """An RMS norm's scale."""

    def __init__(self, stored: RMSNormWeight) -> None:
        super().__init__()
        self.stored = stored
        self.scale = nn.Parameter(torch.from_numpy(np.array(stored.weight, np.float32)))
        self.eps = stored.eps

    @property
    def weight(self) -> Tensor:
        """What x is multiplied by."""
        return self.scale + self.stored.offset if self.stored.offset else self.scale

    def store(self) -> None:
        """See ``Projection.store``."""
        put(self.scale, self.stored.weight)


class Norm(nn.Module):
    """A layer norm's scale and shift."""

    def __init__(self, stored: NormWeight) -> None:
        super().__init__()
        self.stored = stored
        self.weight = nn.Parameter(torch.from_numpy(np.array(stored.weight, np.float32)))
        self.bias = nn.Parameter(torch.from_numpy(np.array(stored.bias, np.float32)))
        self.eps = stored.eps

    def store(self) -> None:
        """See ``Projection.store``."""
        put(self.weight, self.stored.weight)
        put(self.bias, self.stored.bias)


class Table(nn.Module):
    """A table of rows by id; a tied head is the projection that it holds."""

    def __init__(self, projection: Projection) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, ids: Tensor) -> Tensor:
        return self.projection.rows(ids)


class Leaves:
    """Makes the modules of a tree; a matrix that occurs twice becomes one projection."""

    def __init__(self) -> None:
        self._made: dict[int, Projection] = {}

    def __call__(self, leaf: Leaf) -> nn.Module:
        if isinstance(leaf, RMSNormWeight):
            return Rms(leaf)
        if isinstance(leaf, NormWeight):
            return Norm(leaf)
        if isinstance(leaf, EmbeddingWeight):
            return Table(self._projection(leaf.table, None))
        biases: tuple[Any, ...] = leaf.biases or (None,) * 4
        if isinstance(leaf, GluWeight):
            return Glu(self._projection(leaf.gate, biases[0]), self._projection(leaf.up, biases[1]))
        assert isinstance(leaf, LinearWeight)
        parts = [self._projection(matrix, bias) for matrix, bias in zip(leaf.matrices, biases, strict=False)]
        return Stack(parts)

    def _projection(self, matrix: Matrix, bias: NDArray[np.float32] | None) -> Projection:
        if id(matrix) not in self._made:
            self._made[id(matrix)] = Projection(matrix, bias)
        return self._made[id(matrix)]


def values_of(matrix: Matrix) -> Tensor:
    """A copy of plain stored values: bfloat16 stays what it is, everything else becomes float32."""
    if matrix.format == "bf16":
        return torch.from_numpy(np.array(matrix.values)).view(torch.bfloat16)
    return torch.from_numpy(np.array(matrix.values, np.float32))


def put(value: Tensor, where: NDArray[Any]) -> None:
    """Write a tensor's values over an array's (bfloat16 where the array holds its bits)."""
    halves = where.dtype == np.uint16
    target = torch.from_numpy(where.view(np.int16)).view(torch.bfloat16) if halves else torch.from_numpy(where)
    target.copy_(value.detach())


def storable(module: nn.Module) -> Iterator[Projection | Rms | Norm]:
    """Every leaf that has weights to store, once."""
    for part in module.modules():
        if isinstance(part, Projection | Rms | Norm):
            yield part

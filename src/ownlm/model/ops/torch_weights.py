"""Stored weights as the torch side holds them: float32, at the values that blocks stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ownlm.formats import FORMATS, bfloat16
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, Matrix, NormWeight, RMSNormWeight


@dataclass(frozen=True, slots=True)
class Linear:
    """[N, K], and N biases or none."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Rms:
    """An RMS norm; its offset is in the weight."""

    weight: Tensor
    eps: float


def pack(leaf: Leaf, device: torch.device, made: dict[int, Tensor]) -> Tensor | Linear | Norm | Rms:
    """One stored weight. ``made``: tables by the id of their matrix, which a tied head is again."""
    if isinstance(leaf, NormWeight):
        return Norm(floats(leaf.weight, device), floats(leaf.bias, device), leaf.eps)
    if isinstance(leaf, RMSNormWeight):
        return Rms(floats(leaf.weight, device) + leaf.offset, leaf.eps)
    if isinstance(leaf, EmbeddingWeight):
        return made.setdefault(id(leaf.table), _values(leaf.table, device))
    matrices = (leaf.gate, leaf.up) if isinstance(leaf, GluWeight) else leaf.matrices
    known = made.get(id(matrices[0])) if len(matrices) == 1 else None
    weight = torch.cat([_values(matrix, device) for matrix in matrices]) if known is None else known
    return Linear(weight, torch.cat([floats(bias, device) for bias in leaf.biases]) if leaf.biases else None)


def _values(matrix: Matrix, device: torch.device) -> Tensor:
    values = np.ascontiguousarray(matrix.values)
    if matrix.format in FORMATS:
        return floats(FORMATS[matrix.format].dequantize(values), device)
    return floats(bfloat16.to_float32(values) if matrix.format == "bf16" else values, device)


def floats(values: NDArray[np.floating], device: torch.device) -> Tensor:
    """A float32 copy there."""
    return torch.from_numpy(np.array(values, np.float32)).to(device)

"""Stored weights as a GPU holds them: blocks of 4 or 8 bits as they are, other numbers in the precision of the forward.

Q4_0 and Q8_0 keep their codes and their float16 scales, so what a weight stands for is not changed. Every other format
of blocks is rounded to Q8_0, whose 8 bits keep what 4 to 6 held. Norms stay float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ownlm.formats import FORMATS, bfloat16, q8_0
from ownlm.model.ops.cuda_formats import held_format
from ownlm.model.ops.torch_weights import Norm, Rms, floats
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, Matrix, NormWeight, RMSNormWeight

GROUP = 32
"""Weights of a row that share a scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """[N, G * 32] weights. ``codes`` uint8 [N, G, 16]: the weight i of a group is scale * (nibble - 8), of the low
    nibbles for i < 16 and the high ones of the same bytes for i + 16. Or int8 [N, G, 32]: scale * code.
    ``scales`` float16 [N, G]."""

    codes: Tensor
    scales: Tensor

    @property
    def bits(self) -> int:
        """Of a code."""
        return 4 if self.codes.dtype == torch.uint8 else 8

    @property
    def rows(self) -> int:
        return len(self.codes)


Stored = Tensor | Blocks


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """[N, K], and N biases or none."""

    weight: Stored
    bias: Tensor | None


def pack(leaf: Leaf, device: torch.device, dtype: torch.dtype, made: dict[int, Stored]) -> Stored | Linear | Norm | Rms:
    """One stored weight. ``made``: tables by the id of their matrix, which a tied head is again."""
    if isinstance(leaf, NormWeight):
        return Norm(floats(leaf.weight, device), floats(leaf.bias, device), leaf.eps)
    if isinstance(leaf, RMSNormWeight):
        return Rms(floats(leaf.weight, device) + leaf.offset, leaf.eps)
    if isinstance(leaf, EmbeddingWeight):
        return made.setdefault(id(leaf.table), _stored((leaf.table,), device, dtype))
    matrices = (leaf.gate, leaf.up) if isinstance(leaf, GluWeight) else leaf.matrices
    known = made.get(id(matrices[0])) if len(matrices) == 1 else None
    weight = _stored(matrices, device, dtype) if known is None else known
    return Linear(weight, torch.cat([floats(bias, device) for bias in leaf.biases]) if leaf.biases else None)


def dequantized(w: Blocks, dtype: torch.dtype) -> Tensor:
    """[N, K]: the values that the blocks stand for, rounded once, to ``dtype``."""
    codes = torch.cat([w.codes & 15, w.codes >> 4], dim=2).to(torch.int8) - 8 if w.bits == 4 else w.codes
    return (codes.float() * w.scales.float()[:, :, None]).to(dtype).flatten(1)


def looked_up(table: Stored, ids: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, K]: rows by id."""
    if isinstance(table, Tensor):
        return table[ids]
    return dequantized(Blocks(table.codes[ids], table.scales[ids]), dtype)


def stacked(weights: Iterable[Stored]) -> Stored:
    """[E, N, K] of E matrices [N, K] that are stored alike; blocks get their axis in front too."""
    parts = list(weights)
    if isinstance(parts[0], Tensor):
        return torch.stack([part for part in parts if isinstance(part, Tensor)])
    blocks = [part for part in parts if isinstance(part, Blocks)]
    return Blocks(torch.stack([b.codes for b in blocks]), torch.stack([b.scales for b in blocks]))


def _stored(matrices: tuple[Matrix, ...], device: torch.device, dtype: torch.dtype) -> Stored:
    wanted = held_format(matrix.format for matrix in matrices)
    if not wanted:
        return torch.cat([_plain(matrix, device, dtype) for matrix in matrices])
    parts = [_blocks(_as(matrix, wanted), wanted, device) for matrix in matrices]
    if len(parts) == 1:
        return parts[0]
    return Blocks(torch.cat([part.codes for part in parts]), torch.cat([part.scales for part in parts]))


def _plain(matrix: Matrix, device: torch.device, dtype: torch.dtype) -> Tensor:
    values = np.array(matrix.values)  # a copy, in order: files are mapped, and read-only
    if matrix.format == "bf16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16).to(device, dtype)
    return torch.from_numpy(values.astype(np.float32, copy=False)).to(device, dtype)


def _as(matrix: Matrix, wanted: str) -> NDArray[np.uint8]:
    if matrix.format == wanted:
        return np.array(matrix.values)
    values: NDArray[Any] = np.ascontiguousarray(matrix.values)
    if matrix.format in FORMATS:
        return q8_0.quantize(FORMATS[matrix.format].dequantize(values))
    return q8_0.quantize(bfloat16.to_float32(values) if matrix.format == "bf16" else values.astype(np.float32))


def _blocks(stored: NDArray[np.uint8], wanted: str, device: torch.device) -> Blocks:
    """Rows of blocks [N, G * bytes], each a float16 scale and its codes, taken apart on the device."""
    blocks = torch.from_numpy(stored).to(device).view(len(stored), -1, FORMATS[wanted].bytes)
    scales = blocks[:, :, :2].contiguous().view(torch.float16)[:, :, 0]
    codes = blocks[:, :, 2:].contiguous()
    return Blocks(codes if wanted == "q4_0" else codes.view(torch.int8), scales)

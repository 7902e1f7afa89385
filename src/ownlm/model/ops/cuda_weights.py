"""Stored weights as a GPU holds them: blocks of 4 or 8 bits as they are, other numbers in the precision of the forward.

Q4_0, Q4_1 and Q8_0 keep their codes and float16 scales, so what a weight stands for is not changed. Q4_K keeps its
codes; each group's scale and minimum, products of a float16 and 6 bits, are rounded to float16 (relative 2^-11). Every
other format of blocks is rounded to Q8_0, whose 8 bits keep what 4 to 6 held. Norms stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ownlm.formats import FORMATS, bfloat16, k_affine, q8_0
from ownlm.model.ops.cuda_formats import held_format
from ownlm.model.ops.torch_weights import Norm, Rms, floats
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, Matrix, NormWeight, RMSNormWeight


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """[N, G * 32] weights. ``codes`` uint8 [N, G, 16]: of a group, the low nibbles are the weights i < 16 and the high
    ones of the same bytes the weights i + 16. Or int8 [N, G, 32]. ``scales`` and ``offsets`` float16 [N, G]: a weight
    is scale * code + offset; without offsets it is scale * (nibble - 8), or scale * code of 8 bits."""

    codes: Tensor
    scales: Tensor
    offsets: Tensor | None = None

    @property
    def bits(self) -> int:
        """Of a code."""
        return 4 if self.codes.dtype == torch.uint8 else 8

    def __getitem__(self, rows: Any) -> Blocks:
        """Rows, or matrices of several."""
        return Blocks(self.codes[rows], self.scales[rows], None if self.offsets is None else self.offsets[rows])


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
    codes = w.codes if w.bits == 8 else torch.cat([w.codes & 15, w.codes >> 4], dim=2)
    values, scales = codes.float(), w.scales.float()[:, :, None]
    if w.offsets is not None:
        values = values * scales + w.offsets.float()[:, :, None]
    else:
        values = (values if w.bits == 8 else values - 8) * scales
    return values.to(dtype).flatten(1)


def looked_up(table: Stored, ids: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, K]: rows by id."""
    return table[ids] if isinstance(table, Tensor) else dequantized(table[ids], dtype)


def stacked(weights: Iterable[Stored]) -> Stored:
    """[E, N, K] of E matrices [N, K] that are stored alike; blocks get their axis in front too."""
    parts = list(weights)
    if isinstance(parts[0], Tensor):
        return torch.stack([part for part in parts if isinstance(part, Tensor)])
    return _joined([part for part in parts if isinstance(part, Blocks)], torch.stack)


def _stored(matrices: tuple[Matrix, ...], device: torch.device, dtype: torch.dtype) -> Stored:
    wanted = held_format(matrix.format for matrix in matrices)
    if not wanted:
        return torch.cat([_plain(matrix, device, dtype) for matrix in matrices])
    parts = [_BLOCKS[wanted](_as(matrix, wanted), device) for matrix in matrices]
    return parts[0] if len(parts) == 1 else _joined(parts, torch.cat)


def _joined(parts: Sequence[Blocks], join: Callable[[list[Tensor]], Tensor]) -> Blocks:
    """Of one format."""
    offsets = [part.offsets for part in parts if part.offsets is not None]
    return Blocks(
        join([part.codes for part in parts]), join([part.scales for part in parts]), join(offsets) if offsets else None
    )


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


def _parts(stored: NDArray[np.uint8], size: int, device: torch.device) -> Tensor:
    """uint8 [N, blocks, size], there."""
    return torch.from_numpy(stored).to(device).view(len(stored), -1, size)


def _halves(parts: Tensor, at: int) -> Tensor:
    """The float16 at a byte of every block."""
    return parts[:, :, at : at + 2].contiguous().view(torch.float16)[:, :, 0]


def _q4_0(stored: NDArray[np.uint8], device: torch.device) -> Blocks:
    parts = _parts(stored, 18, device)
    return Blocks(parts[:, :, 2:].contiguous(), _halves(parts, 0))


def _q4_1(stored: NDArray[np.uint8], device: torch.device) -> Blocks:
    parts = _parts(stored, 20, device)
    return Blocks(parts[:, :, 4:].contiguous(), _halves(parts, 0), _halves(parts, 2))


def _q8_0(stored: NDArray[np.uint8], device: torch.device) -> Blocks:
    parts = _parts(stored, 34, device)
    return Blocks(parts[:, :, 2:].contiguous().view(torch.int8), _halves(parts, 0))


def _q4_k(stored: NDArray[np.uint8], device: torch.device) -> Blocks:
    """In each 32 bytes of a block the low nibbles are one group, the high ones the next."""
    size, rows = FORMATS["q4_k"].bytes, len(stored)
    scales, minima = (
        torch.from_numpy(part.reshape(rows, -1).astype(np.float16)).to(device)
        for part in k_affine.group_scales(stored.reshape(-1, size))
    )
    packed = _parts(stored, size, device)[:, :, k_affine.HEAD :].reshape(rows, -1, 1, 32)
    groups = torch.cat([packed & 15, packed >> 4], dim=2)  # [N, blocks * 4, 2, 32]
    codes = groups[..., :16] | groups[..., 16:] << 4
    return Blocks(codes.reshape(rows, -1, 16), scales, -minima)


_BLOCKS: dict[str, Callable[[NDArray[np.uint8], torch.device], Blocks]] = {
    "q4_0": _q4_0, "q4_1": _q4_1, "q4_k": _q4_k, "q8_0": _q8_0,
}  # fmt: skip

"""Stored weights as the native side holds them: linear weights packed anew, tables where the checkpoint maps them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import FORMATS, q8_0
from ownlm.model.ops.packing import columns, converted, packed_format, stored_bytes, table_format
from ownlm.model.ops.packs import Packs
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, LinearWeight, Matrix, NormWeight, RMSNormWeight
from ownlm.native import plan

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """A packed matrix; ``outliers`` are inputs that have blocks of their own at the end (see ``apart``)."""

    weight: native.Linear
    bias: Array | None
    outliers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """A head that is read by a 4-bit copy; its leading logits are computed again from its own rows."""

    weight: plan.Head
    bias: Array | None


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm."""

    weight: Array
    bias: Array
    eps: float


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to look up: float32, or bytes in ``format``."""

    values: NDArray[Any]
    format: str
    width: int


Packed = Linear | Head | Norm | Table | plan.RMSNorm


def pack(leaf: Leaf, name: str, packs: Packs) -> Packed:
    """One stored weight, packed, or as ``packs`` has it under ``name``."""
    if isinstance(leaf, NormWeight):
        return Norm(leaf.weight, leaf.bias, leaf.eps)
    if isinstance(leaf, RMSNormWeight):
        return plan.RMSNorm(leaf.weight, leaf.eps, leaf.offset)
    if isinstance(leaf, EmbeddingWeight):
        return _table(leaf.table, name, packs)
    bias = np.ascontiguousarray(np.concatenate(leaf.biases), np.float32) if leaf.biases else None
    if isinstance(leaf, GluWeight):
        gate, up = leaf.gate, leaf.up
        wanted = packed_format((gate.format, up.format))
        kind = (wanted, 2 * gate.rows, _columns(gate), True)
        return Linear(
            packs.linear(name, kind, lambda: native.pack_glu(_as(gate, wanted), _as(up, wanted), wanted)), bias
        )
    if leaf.outliers:
        return _with_outliers(leaf, bias)
    formats = [packed_format((matrix.format,)) for matrix in leaf.matrices]
    kind = ("+".join(_runs(formats)), sum(matrix.rows for matrix in leaf.matrices), _columns(leaf.matrices[0]), False)

    def stacked() -> native.Linear:
        return native.pack([_as(*each) for each in zip(leaf.matrices, formats, strict=True)], formats)

    return Linear(packs.linear(name, kind, stacked), bias)


def _columns(matrix: Matrix) -> int:
    return columns(matrix.values.shape[1], matrix.format)


def _runs(formats: Sequence[str]) -> list[str]:
    """Neighbours that are alike once: they are packed together.

    >>> _runs(["q4_k", "q4_k", "q6_k"])
    ['q4_k', 'q6_k']
    """
    return [format for format, _ in itertools.groupby(formats)]


def pack_head(leaf: LinearWeight, table: Table | None, packs: Packs) -> Head:
    """A head of ``packing.rescored``. ``table``: of the same matrix, whose rows serve both where they are alike."""
    (matrix,) = leaf.matrices
    wanted = packed_format((matrix.format,))
    inputs = _columns(matrix)
    if table is not None and table.format == wanted:
        data = table.values.view(np.uint8)
    elif wanted == matrix.format:
        data = _as(matrix, wanted).view(np.uint8)
    else:
        shape = (matrix.rows, stored_bytes(wanted, 1, inputs))
        data = packs.array("head.rows", "uint8", shape, lambda: _as(matrix, wanted).view(np.uint8))
    made = functools.cache(lambda: native.coarse(data, wanted, inputs))
    copy = packs.linear("head.copy", ("q4_0", matrix.rows, inputs, False), lambda: made()[0])
    spread = packs.array("head.spread", "float32", (inputs,), lambda: made()[1])
    bias = np.ascontiguousarray(np.concatenate(leaf.biases), np.float32) if leaf.biases else None
    return Head(plan.Head(copy=copy, rows=data, format=wanted, spread=spread), bias)


def _as(matrix: Matrix, wanted: str) -> NDArray[Any]:
    return np.ascontiguousarray(converted(matrix.values, matrix.format, wanted))


def _table(matrix: Matrix, name: str, packs: Packs) -> Table:
    wanted = table_format(matrix.format)
    if wanted == matrix.format:
        values = _as(matrix, wanted)
    else:
        shape = (matrix.rows, FORMATS[wanted].row_bytes(_columns(matrix)))
        values = packs.array(name, "uint8", shape, lambda: _as(matrix, wanted))
    if wanted in ("f16", "bf16"):
        return Table(values.view(np.uint8), wanted, values.shape[1])
    return Table(values, wanted, columns(values.shape[1], wanted))


def apart(x: Array, outliers: tuple[int, ...]) -> Array:
    """x [T, K] with each outlier channel alone in a block of its own behind the others, where int8 holds it exactly.

    Else the int8 scale of its 31 neighbours would be its own. Costs 50 us a 1024 tokens and a block's products.
    """
    if not outliers:
        return x
    tokens, columns = x.shape
    wide = np.empty((tokens, columns + q8_0.BLOCK * len(outliers)), np.float32)
    wide[:, :columns] = x
    wide[:, columns:] = 0
    for place, channel in enumerate(outliers):
        wide[:, columns + place * q8_0.BLOCK] = x[:, channel]
        wide[:, channel] = 0
    return wide


def _with_outliers(leaf: LinearWeight, bias: Array | None) -> Linear:
    """The weights' side of ``apart``: rows of blocks, each outlier's weight repeated alone in a block at the end."""
    blocks = np.concatenate([_as(matrix, "q8_0") for matrix in leaf.matrices])
    own = np.zeros((len(blocks), q8_0.BLOCK * len(leaf.outliers)), np.float32)
    for place, channel in enumerate(leaf.outliers):
        start = channel // q8_0.BLOCK * q8_0.BYTES
        block = q8_0.dequantize(np.ascontiguousarray(blocks[:, start : start + q8_0.BYTES]))
        own[:, place * q8_0.BLOCK] = block[:, channel % q8_0.BLOCK]
    packed = native.pack_q8_0(np.concatenate([blocks, q8_0.quantize(own)], axis=1))
    return Linear(packed, bias, leaf.outliers)

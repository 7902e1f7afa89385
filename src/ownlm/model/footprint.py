"""Bytes that a decoder's weights take once a side of ``ops`` has prepared them, told from names and shapes alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.ops import packing
from ownlm.model.ops.cuda_formats import held_bytes
from ownlm.model.params import (
    EmbeddingWeight,
    GluWeight,
    Leaf,
    LinearWeight,
    Matrix,
    NormWeight,
    RMSNormWeight,
    map_leaves,
)  # fmt: skip
from ownlm.model.safetensors import Tensor, hollow


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """``weights``: what stays. ``more``: what the largest conversion takes beside it for a moment."""

    weights: int
    more: int


def footprint(config: DecoderConfig, tensors: Mapping[str, Tensor], ops: str, head: str = "exact") -> Footprint:
    """Of the side called ``ops``, with its ``head`` (see ``ops.load``). No byte of a matrix is read.

    Raises what ``decoder_params`` raises.
    """
    found: list[tuple[int, int]] = []
    count = {"native": _native, "cuda": _cuda}.get(ops, _torch)

    def pack(leaf: Leaf) -> Leaf:
        found.append(count(leaf))
        return leaf

    params = decoder_params(config, _hollow(tensors))
    if ops != "native" and config.tie_word_embeddings:
        params = dataclasses.replace(params, head=None)  # is the table of embeddings
    if ops == "native" and head == "rescored" and packing.rescored(params.head):
        found.append(_rescored(params.head.matrices[0], params.embed_tokens.table))
        params = dataclasses.replace(params, head=None)
    map_leaves(params, pack)
    return Footprint(sum(stays for stays, _ in found), max((more for _, more in found), default=0))


def _hollow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names, types and shapes over one value each. Vectors stay: what is in them costs nothing to look at."""
    found = {}
    for name, tensor in tensors.items():
        if name.endswith("_blocks") and (whole := _joined(name, tensor, tensors)) is not None:
            found[whole.name] = whole
        elif name.endswith("_scales") and f"{name.removesuffix('_scales')}_blocks" in tensors:
            continue
        elif len(tensor.shape) < 2:
            found[name] = tensor
        else:
            found[name] = hollow(Tensor(name, "F32", tensor.array) if tensor.dtype == "F64" else tensor)
    return found


def _joined(name: str, blocks: Tensor, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """gpt-oss keeps nibbles [..., n, 16] and exponents [..., n] apart; loading makes blocks [..., n * 17] of them."""
    scales = tensors.get(f"{name.removesuffix('_blocks')}_scales")
    if scales is None or len(blocks.shape) < 2 or blocks.shape != (*scales.shape, 16):
        return None
    shape = (*scales.shape[:-1], scales.shape[-1] * 17)
    plain = name.removesuffix("_blocks")
    return Tensor(plain, "U8", np.broadcast_to(np.zeros((), np.uint8), shape), "mxfp4")


def _torch(leaf: Leaf) -> tuple[int, int]:
    """Everything is float32; stacked matrices are there twice while they are joined."""
    if isinstance(leaf, NormWeight):
        return leaf.weight.nbytes + leaf.bias.nbytes, 0
    if isinstance(leaf, RMSNormWeight):
        return leaf.weight.nbytes, 0
    matrices, biases = _parts(leaf)
    floats = 4 * sum(matrix.rows * _columns(matrix) for matrix in matrices)
    return floats + biases, floats


def _cuda(leaf: Leaf) -> tuple[int, int]:
    """Blocks of 4 and 8 bits stay, other numbers are bfloat16; a long prompt has each matrix as that for a moment."""
    if isinstance(leaf, NormWeight | RMSNormWeight):
        return _torch(leaf)
    matrices, biases = _parts(leaf)
    columns, rows = _columns(matrices[0]), sum(matrix.rows for matrix in matrices)
    return held_bytes((matrix.format for matrix in matrices), rows, columns) + biases, 2 * rows * columns


def _native(leaf: Leaf) -> tuple[int, int]:
    if isinstance(leaf, NormWeight):
        return leaf.weight.nbytes + leaf.bias.nbytes, 0
    if isinstance(leaf, RMSNormWeight):
        return leaf.weight.nbytes, 0
    matrices, biases = _parts(leaf)
    columns = _columns(matrices[0])
    if isinstance(leaf, EmbeddingWeight):
        table = leaf.table
        if packing.table_format(table.format) == table.format:
            return table.values.nbytes, 0  # as the file is mapped
        blocks = packing.stored_bytes("q8_0", table.rows, columns)
        return blocks, 4 * table.rows * columns
    if isinstance(leaf, GluWeight):
        wanted = [packing.packed_format(matrix.format for matrix in matrices)] * 2
        packed = 2 * packing.packed_bytes(wanted[0], leaf.gate.rows, columns)
    else:
        wanted = [packing.packed_format((matrix.format,)) for matrix in matrices]
        packed = 0
        for format, run in itertools.groupby(zip(wanted, matrices, strict=True), lambda each: each[0]):
            packed += packing.packed_bytes(format, sum(matrix.rows for _, matrix in run), columns)
    converted = sum(
        4 * matrix.rows * columns + packing.stored_bytes(format, matrix.rows, columns)
        for format, matrix in zip(wanted, matrices, strict=True)
        if matrix.format != format
    )
    return packed + biases, converted


def _rescored(head: Matrix, table: Matrix) -> tuple[int, int]:
    """The 4-bit copy, and the rows, unless those are the table's."""
    columns, wanted = _columns(head), packing.packed_format((head.format,))
    copy = packing.packed_bytes("q4_0", head.rows, columns) + 4 * columns
    if head is table and packing.table_format(table.format) == wanted:
        return copy, 0
    rows = packing.stored_bytes(wanted, head.rows, columns)
    return copy + rows, 0 if head.format == wanted else 4 * head.rows * columns


def _parts(leaf: EmbeddingWeight | LinearWeight | GluWeight) -> tuple[tuple[Matrix, ...], int]:
    """Matrices, and the bytes of biases."""
    if isinstance(leaf, EmbeddingWeight):
        return (leaf.table,), 0
    return (leaf.gate, leaf.up) if isinstance(leaf, GluWeight) else leaf.matrices, _sum(leaf.biases)


def _sum(arrays: Iterable[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> int:
    return sum(array.nbytes for array in arrays)


def _columns(matrix: Matrix) -> int:
    return packing.columns(matrix.values.shape[1], matrix.format)

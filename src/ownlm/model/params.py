"""The parameter tree of a model, before and after an ``ops`` side has prepared it.

A tree is dataclasses and tuples; its leaves are stored weights. ``Ops.prepare`` gives the same tree with each
leaf replaced by the side's own handle (packed once), so the forward never sees how weights are stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Handle = Any
"""A leaf of a prepared tree, or a value of a forward: opaque to the model's code, known to one ``ops`` side."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Stored values [rows, columns]: float32, or blocks of ``format`` q8_0 as uint8 [rows, columns / 32 * 34]."""

    values: NDArray[Any]
    format: str = "f32"

    @property
    def rows(self) -> int:
        """Number of outputs, or of entries of a table."""
        return int(self.values.shape[0])


@dataclass(frozen=True, slots=True)
class LinearWeight:
    """y = x W^T + b. Several matrices are stacked by rows: query, key and value become one.

    ``outliers`` are the channels of x that a side which quantizes x keeps apart (see ``QuantizationConfig``).
    """

    matrices: tuple[Matrix, ...]
    biases: tuple[NDArray[np.float32], ...] = ()
    outliers: tuple[int, ...] = ()

    @property
    def format(self) -> str:
        """The one format of all its matrices."""
        return self.matrices[0].format


@dataclass(frozen=True, slots=True)
class EmbeddingWeight:
    """A table of rows looked up by id."""

    table: Matrix


@dataclass(frozen=True, slots=True)
class NormWeight:
    """Scale and shift of a layer norm, with its epsilon."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    eps: float


Leaf = LinearWeight | EmbeddingWeight | NormWeight


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    """One BERT layer. Names follow the checkpoint; ``qkv`` is its query, key and value, stacked."""

    qkv: Handle
    attention_output: Handle
    attention_norm: Handle
    intermediate: Handle
    output: Handle
    output_norm: Handle


@dataclass(frozen=True, slots=True)
class EncoderParams:
    """A BERT-type encoder."""

    word_embeddings: Handle
    position_embeddings: Handle
    token_type_embeddings: Handle
    embeddings_norm: Handle
    layers: tuple[EncoderLayer, ...]


def map_leaves(tree: T, pack: Callable[[Leaf], Handle]) -> T:
    """The same tree with ``pack`` applied to every stored weight."""
    found: Any = tree
    if isinstance(found, LinearWeight | EmbeddingWeight | NormWeight):
        found = pack(found)
    elif isinstance(found, tuple):
        found = tuple(map_leaves(item, pack) for item in found)
    elif dataclasses.is_dataclass(found) and not isinstance(found, type):
        items = {field.name: map_leaves(getattr(found, field.name), pack) for field in dataclasses.fields(found)}
        found = dataclasses.replace(found, **items)
    result: T = found
    return result

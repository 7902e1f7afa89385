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
    """Stored values [rows, columns]: f32, f16, bf16 (its bits as uint16), or uint8 blocks of a ``format``.

    ``name`` is the tensor's in the checkpoint, of which these are the rows from ``first`` on; "" where they are not
    rows of one. ``turned``: it is stored as [columns, rows].
    """

    values: NDArray[Any]
    format: str = "f32"
    name: str = ""
    first: int = 0
    turned: bool = False

    @property
    def rows(self) -> int:
        """Number of outputs, or of entries of a table."""
        return int(self.values.shape[0])

    def split(self, rows: int) -> tuple[Matrix, Matrix]:
        """The first ``rows`` and the others, as views."""
        after = self.first + rows
        return (
            dataclasses.replace(self, values=self.values[:rows]),
            dataclasses.replace(self, values=self.values[rows:], first=after),
        )


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


@dataclass(frozen=True, slots=True)
class RMSNormWeight:
    """Scale of an RMS norm, with its epsilon; ``offset`` is added to the scale."""

    weight: NDArray[np.float32]
    eps: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class GluWeight:
    """activation(x G^T + b_g) * (x U^T + b_u); ``biases`` are b_g and b_u, or none."""

    gate: Matrix
    up: Matrix
    biases: tuple[NDArray[np.float32], ...] = ()


Leaf = LinearWeight | EmbeddingWeight | NormWeight | RMSNormWeight | GluWeight


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


@dataclass(frozen=True, slots=True)
class ExpertsParams:
    """A mixture of experts: the router's [experts, hidden], and of each expert the gated projections and the last."""

    router: Handle
    gate_up: tuple[Handle, ...]
    down: tuple[Handle, ...]


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """One decoder layer; what its family does not have is None. ``qkv`` is query, key and value, stacked.

    Norms: before attention and feed-forward, and on what each of the two adds. ``mlp_in`` is the gated pair, or one
    projection where the family has no gate; it and ``mlp_out`` are None where ``experts`` is not. With a
    ``value_embedding``, a table, ``qkv`` has one row more a key-value head: the table's gate.
    """

    qkv: Handle
    attention_output: Handle
    attention_norm: Handle = None
    attention_post_norm: Handle = None
    q_norm: Handle = None
    k_norm: Handle = None
    sinks: NDArray[np.float32] | None = None
    value_embedding: Handle = None
    mlp_norm: Handle = None
    mlp_post_norm: Handle = None
    mlp_in: Handle = None
    mlp_out: Handle = None
    experts: ExpertsParams | None = None


@dataclass(frozen=True, slots=True)
class DecoderParams:
    """A decoder. ``positions`` is a table of learned positions, or None; ``head`` may share the embeddings' matrix."""

    embed_tokens: Handle
    positions: Handle
    layers: tuple[DecoderLayer, ...]
    norm: Handle
    head: Handle


def map_leaves(tree: T, pack: Callable[[Leaf], Handle]) -> T:
    """The same tree with ``pack`` applied to every stored weight."""
    found: Any = tree
    if isinstance(found, Leaf):
        found = pack(found)
    elif isinstance(found, tuple):
        found = tuple(map_leaves(item, pack) for item in found)
    elif dataclasses.is_dataclass(found) and not isinstance(found, type):
        items = {field.name: map_leaves(getattr(found, field.name), pack) for field in dataclasses.fields(found)}
        found = dataclasses.replace(found, **items)
    result: T = found
    return result

"""What a token costs a machine: bytes that are read, and operations, told from the weights as they are packed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ownlm.model.params import DecoderParams, ExpertsParams

INT8 = frozenset({"q8_0", "q4_0", "q4_k", "q5_k", "q6_k"})
"""Formats of weights whose products are of int8 activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Of one token. ``layers`` and ``head``: bytes of weights that are read; ``operations`` with the layers' and
    ``head_operations`` with the head's, a multiplication and an addition counted as two; ``cached``: bytes of the cache
    that each token of the text before it adds. ``kind``: of the products, "int8", "bf16" or "f32", by what most
    operations take.
    """

    layers: int
    head: int
    operations: int
    head_operations: int
    cached: int
    kind: str

    def decode_bytes(self, depth: int, sequences: int = 1) -> int:
        """Read in a step that gives each of ``sequences`` its next token behind ``depth`` others."""
        return self.layers + self.head + sequences * depth * self.cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Bytes that a model's weights keep: of ``layers``, ``head``, and the ``table`` of embeddings."""

    layers: int
    head: int
    table: int


def traffic(params: DecoderParams, chosen: int, cached: int) -> Traffic:
    """Of a tree that the native side has prepared; ``chosen`` experts of a mixture are read for a token."""
    layers, operations = 0.0, 0.0
    kinds: Counter[str] = Counter()
    for matrix, experts in _layers(params):
        share = chosen / experts if experts else 1.0
        count = 2 * matrix.rows * matrix.columns * share
        layers += matrix.nbytes * share
        operations += count
        kinds[kind_of(matrix.format)] += int(count)
    read = _read(params.head)
    return Traffic(
        layers=int(layers),
        head=read.nbytes,
        operations=int(operations),
        head_operations=2 * read.rows * read.columns,
        cached=cached,
        kind=kinds.most_common(1)[0][0] if kinds else "f32",
    )


def resident(params: DecoderParams) -> Resident:
    """Bytes of a tree that the native side has prepared. Rows that head and table share count as the table's."""
    table = params.embed_tokens.values
    read = _read(params.head)
    rows = _rows(params.head)
    own = 0 if rows is None or _same(rows, table) else rows.nbytes
    return Resident(
        layers=sum(matrix.nbytes for matrix, _ in _layers(params)), head=read.nbytes + own, table=table.nbytes
    )


def kind_of(format: str) -> str:
    """The kind of product that weights of a format, or of several, take part in.

    >>> kind_of("q4_0"), kind_of("bf16"), kind_of("q4_k+q6_k")
    ('int8', 'bf16', 'int8')
    """
    return "int8" if INT8.issuperset(format.split("+")) else format


def _read(head: Any) -> Any:
    """The packed matrix of a head that each token reads whole: a rescored one's is its copy."""
    return getattr(head.weight, "copy", head.weight)


def _rows(head: Any) -> Any:
    """Those of a head which lie beside its copy; None where there is no copy."""
    return None if not hasattr(head.weight, "copy") else head.weight.rows


def _same(a: Any, b: Any) -> bool:
    return bool(a.__array_interface__["data"][0] == b.__array_interface__["data"][0])


def _layers(params: DecoderParams) -> Iterator[tuple[Any, int]]:
    """Every packed matrix of the layers; of an expert, with how many there are beside it, else 0."""
    for layer in params.layers:
        for field in dataclasses.fields(layer):
            value = getattr(layer, field.name)
            if isinstance(value, ExpertsParams):
                yield value.router.weight, 0
                for handle in (*value.gate_up, *value.down):
                    yield handle.weight, len(value.down)
            elif hasattr(getattr(value, "weight", None), "nbytes") and hasattr(value.weight, "format"):
                yield value.weight, 0

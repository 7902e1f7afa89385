"""Every weight of both models, tensor by tensor: does one differ by more than the format that it is kept in explains?

An allowed error is told from the reference's weights. Plain numbers: what rounding to float16 or bfloat16 costs.
Blocks: twice the largest error that rounding to the nearest makes in that very block, so that one bad block among
millions is found, and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.formats import FORMATS, bfloat16
from ownlm.model.params import Matrix
from ownlm.publish.report import Check
from ownlm.publish.side import Side
from ownlm.publish.thresholds import KEEPING

Floats = NDArray[np.float32]
_WEIGHTS_AT_A_TIME = 1 << 20
_RELATIVE = {"f32": 2.0**-22, "f16": 2.0**-10, "bf16": 2.0**-7}  # twice what rounding costs
_SMALLEST = 1e-6  # of a row's largest weight: what adding an adapter in another order costs
_HALF_STEP = 6e-8  # float16's smallest
_BLOCKS = 2.0
_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0}
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Of the tensor ``name``: at [``row``, ``column``] the error is ``excess`` times the allowed one."""

    name: str
    row: int
    column: int
    error: float
    excess: float

    def __str__(self) -> str:
        place = f"{self.name}[{self.row}, {self.column}]"
        return f"{place} is off by {self.error:.3g}, {self.excess:.3g} times what its format explains"


def weights(step: str, reference: Side, candidate: Side) -> Iterator[Check]:
    """The types that the step may leave, and the values."""
    pairs = list(zip(stored(reference.params), stored(candidate.params), strict=False))
    yield _types(step, [(name, one, other) for (name, one), (_, other) in pairs])
    faults, count = [], 0
    for (name, one), (_, other) in pairs:
        count += rows_of(one).shape[0] * columns_of(one)
        fault = compared(name, one, other)
        if fault is not None:
            faults.append(fault)
    if not faults:
        yield Check("weights", True, f"all {count:,} in {len(pairs)} tensors, each within the error of its format")
        return
    faults.sort(key=lambda fault: -fault.excess)
    named = "; ".join(str(fault) for fault in faults[:_NAMED])
    more = f"; and {len(faults) - _NAMED} more tensors" if len(faults) > _NAMED else ""
    yield Check("weights", False, f"{named}{more}")


def stored(tree: Any, at: str = "") -> Iterator[tuple[str, Matrix | Floats]]:
    """Each matrix and vector of a tree of parameters once, in its order, with the name of its tensor."""
    yield from _stored(tree, at, set())


def _stored(tree: Any, at: str, seen: set[int]) -> Iterator[tuple[str, Matrix | Floats]]:
    if isinstance(tree, Matrix):
        if id(tree) not in seen:  # a tied head is the table
            seen.add(id(tree))
            yield tree.name or at, tree
    elif isinstance(tree, np.ndarray):
        yield at, tree
    elif isinstance(tree, tuple):
        for index, item in enumerate(tree):
            yield from _stored(item, f"{at}.{index}", seen)
    elif is_dataclass(tree) and not isinstance(tree, type):
        for field in fields(tree):
            yield from _stored(getattr(tree, field.name), f"{at}.{field.name}" if at else field.name, seen)


def format_of(stored: Matrix | Floats) -> str:
    return stored.format if isinstance(stored, Matrix) else "f32"


def rows_of(stored: Matrix | Floats) -> NDArray[Any]:
    """As stored; a vector is one row."""
    return stored.values if isinstance(stored, Matrix) else stored.reshape(1, -1)


def columns_of(stored: Matrix | Floats) -> int:
    values, form = rows_of(stored), FORMATS.get(format_of(stored))
    return int(values.shape[1]) if form is None else int(values.shape[1]) // form.bytes * form.block


def floats(values: NDArray[Any], format: str) -> Floats:
    """Stored rows as float32."""
    values = np.ascontiguousarray(values)
    if format in FORMATS:
        return FORMATS[format].dequantize(values)
    found: Floats = bfloat16.to_float32(values) if format == "bf16" else values.astype(np.float32, copy=False)
    return found


def compared(name: str, one: Matrix | Floats, other: Matrix | Floats) -> Fault | None:
    """The worst place of a tensor, if it is off by more than its format explains."""
    first, second = rows_of(one), rows_of(other)
    forms = format_of(one), format_of(other)
    if first.shape[0] != second.shape[0] or columns_of(one) != columns_of(other):
        return Fault(name, 0, 0, float("inf"), float("inf"))
    step = max(1, _WEIGHTS_AT_A_TIME // max(1, columns_of(one)))
    worst: Fault | None = None
    for start in range(0, len(first), step):
        left, right = first[start : start + step], second[start : start + step]
        if forms[0] == forms[1] and left.tobytes() == right.tobytes():
            continue
        wanted, found = floats(left, forms[0]), floats(right, forms[1])
        error = np.abs(wanted - found)
        error[~np.isfinite(error)] = np.inf
        excess = error / allowed(wanted, forms[0], forms[1])
        place = int(excess.argmax())
        row, column = divmod(place, excess.shape[1])
        if excess[row, column] > 1 and (worst is None or excess[row, column] > worst.excess):
            worst = Fault(name, start + row, column, float(error[row, column]), float(excess[row, column]))
    return worst


def allowed(w: Floats, before: str, after: str) -> Floats:
    """The largest error of each weight [rows, columns] that keeping ``w`` in the format ``after`` explains."""
    largest = np.abs(w).max(axis=1, keepdims=True)
    floor = _SMALLEST * largest + _HALF_STEP * 2
    form = FORMATS.get(after)
    if form is None or before == after:
        plain: Floats = np.abs(w) * np.float32(_RELATIVE.get(after, _RELATIVE["f32"])) + floor
        return plain
    nearest = np.abs(w - form.dequantize(form.quantize(w)))
    blocks = nearest.reshape(len(w), -1, form.block).max(axis=2)
    scale = np.abs(w).reshape(len(w), -1, form.block).max(axis=2) * 2.0**-10  # that of blocks is float16
    bound: Floats = np.repeat(_BLOCKS * blocks + scale, form.block, axis=1) + floor
    return bound


def _types(step: str, pairs: list[tuple[str, Matrix | Floats, Matrix | Floats]]) -> Check:
    """No matrix may have fewer bits than the step leaves; of a format that was asked for there must be some."""
    found = sorted({format_of(other) for _, _, other in pairs if isinstance(other, Matrix)})
    for name, one, other in pairs:
        leaves = format_of(one) if step in KEEPING else step
        least = min(bits(leaves), 16.0) if step in ("merge", "train") else bits(leaves)  # those compute in float32
        if bits(format_of(other)) < least:
            return Check("types", False, f"{name} is {format_of(other)}, where {step} leaves {leaves}")
    if step in FORMATS and step not in found and not _too_narrow(step, pairs):
        return Check("types", False, f"no matrix is {step}: they are {', '.join(found)}")
    return Check("types", True, ", ".join(found))


def _too_narrow(step: str, pairs: list[tuple[str, Matrix | Floats, Matrix | Floats]]) -> bool:
    """Whether no row of the model is a number of whole blocks, so that nothing could be rounded to them."""
    block = FORMATS[step].block
    return all(columns_of(one) % block for _, one, _ in pairs if isinstance(one, Matrix))


def bits(format: str) -> float:
    """A weight's."""
    form = FORMATS.get(format)
    return _BITS[format] if form is None else form.bits

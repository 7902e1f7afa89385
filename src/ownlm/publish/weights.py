"""Every weight of both models, tensor by tensor: does one differ by more than the format that it is kept in explains?

An allowed error is told from the reference's weights. Plain numbers: what rounding to float16 or bfloat16 costs.
Blocks: twice the largest error that rounding to the nearest makes in that very block, so that one bad block among
millions is found, and named; and never more than the format can cost at all, so that a fault of the rounding itself
does not excuse what it made.
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
_WORST = {
    "q8_0": 1 / 220, "q4_0": 1 / 7.8, "q4_1": 1 / 14, "q5_0": 1 / 15.5, "q5_1": 1 / 29, "q4_k": 1 / 6, "q5_k": 1 / 12,
    "q6_k": 1 / 28, "mxfp4": 1 / 3.9,
}  # fmt: skip
"""Of a block's largest weight, what rounding costs at most: half a step, or a whole one at the short end of Q4_0 and
Q5_0; of the K formats, whose scales are rounded too, more than 28,000 random blocks of seven shapes ever cost."""
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


@dataclass(frozen=True, slots=True)
class Kept:
    """Stored rows, a vector as one: float32, float16, bits of bfloat16, or blocks."""

    rows: NDArray[Any]
    format: str
    vector: bool = False

    @property
    def columns(self) -> int:
        """Weights of a row."""
        form, width = FORMATS.get(self.format), int(self.rows.shape[1])
        return width if form is None else width // form.bytes * form.block

    def floats(self, start: int, end: int) -> Floats:
        """Some rows as float32."""
        values = np.ascontiguousarray(self.rows[start:end])
        if self.format in FORMATS:
            return FORMATS[self.format].dequantize(values)
        found: Floats = bfloat16.to_float32(values) if values.dtype == np.uint16 else values.astype(np.float32)
        return found


def weights(step: str, reference: Side, candidate: Side) -> Iterator[Check]:
    """The types that the step may leave, and the values."""
    sides = [stored(side.params, side.vector_format) for side in (reference, candidate)]
    pairs = [(name, one, other) for (name, one), (_, other) in zip(*sides, strict=False)]
    yield _types(step, pairs)
    count = sum(len(one.rows) * one.columns for _, one, _ in pairs)
    faults = [fault for name, one, other in pairs if (fault := compared(name, one, other)) is not None]
    if not faults:
        yield Check("weights", True, f"all {count:,} in {len(pairs)} tensors, each within the error of its format")
        return
    faults.sort(key=lambda fault: -fault.excess)
    named = "; ".join(str(fault) for fault in faults[:_NAMED])
    more = f"; and {len(faults) - _NAMED} more tensors" if len(faults) > _NAMED else ""
    yield Check("weights", False, f"{named}{more}")


def stored(tree: Any, vectors: str = "f32") -> Iterator[tuple[str, Kept]]:
    """Each matrix and vector of a tree of parameters once, in its order, with the name of its tensor; ``vectors`` is
    the type that vectors are kept in."""
    yield from _stored(tree, "", vectors, set())


def _stored(tree: Any, at: str, vectors: str, seen: set[int]) -> Iterator[tuple[str, Kept]]:
    if isinstance(tree, Matrix):
        if id(tree) not in seen:  # a tied head is the table
            seen.add(id(tree))
            yield tree.name or at, Kept(tree.values, tree.format)
    elif isinstance(tree, np.ndarray):
        yield at, Kept(tree.reshape(1, -1), vectors, vector=True)
    elif isinstance(tree, tuple):
        for index, item in enumerate(tree):
            yield from _stored(item, f"{at}.{index}", vectors, seen)
    elif is_dataclass(tree) and not isinstance(tree, type):
        for field in fields(tree):
            yield from _stored(getattr(tree, field.name), f"{at}.{field.name}" if at else field.name, vectors, seen)


def compared(name: str, one: Kept, other: Kept) -> Fault | None:
    """The worst place of a tensor, if it is off by more than its format explains."""
    if len(one.rows) != len(other.rows) or one.columns != other.columns:
        return Fault(name, 0, 0, float("inf"), float("inf"))
    step = max(1, _WEIGHTS_AT_A_TIME // max(1, one.columns))
    worst: Fault | None = None
    for start in range(0, len(one.rows), step):
        left, right = one.rows[start : start + step], other.rows[start : start + step]
        if one.format == other.format and left.tobytes() == right.tobytes():
            continue
        wanted, found = one.floats(start, start + step), other.floats(start, start + step)
        error = np.abs(wanted - found)
        error[~np.isfinite(error)] = np.inf
        excess = error / allowed(wanted, one.format, other.format)
        row, column = divmod(int(excess.argmax()), excess.shape[1])
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
    blocks, peaks = (np.abs(each).reshape(len(w), -1, form.block).max(axis=2) for each in (nearest, w))
    blocks = np.minimum(_BLOCKS * blocks + peaks * 2.0**-10, _WORST[after] * peaks)  # their scale is float16
    bound: Floats = np.repeat(blocks, form.block, axis=1) + floor
    return bound


def _types(step: str, pairs: list[tuple[str, Kept, Kept]]) -> Check:
    """Nothing may have fewer bits than the step leaves; of a format that was asked for there must be some."""
    found = sorted({other.format for _, _, other in pairs if not other.vector})
    for name, one, other in pairs:
        leaves = one.format if step in KEEPING or (one.vector and step in FORMATS) else step
        least = min(bits(leaves), 16.0) if step in ("merge", "train") else bits(leaves)  # those compute in float32
        if bits(other.format) < least:
            return Check("types", False, f"{name} is {other.format}, where {step} leaves {leaves}")
    rounded = step in FORMATS and any(one.columns % FORMATS[step].block == 0 for _, one, _ in pairs if not one.vector)
    if rounded and step not in found:
        return Check("types", False, f"no matrix is {step}: they are {', '.join(found)}")
    return Check("types", True, ", ".join(found))


def bits(format: str) -> float:
    """A weight's."""
    form = FORMATS.get(format)
    return _BITS[format] if form is None else form.bits

"""Packed weights as plain memory, and stacks of several formats."""

from __future__ import annotations

import numpy as np
import pytest

from ownlm import native
from ownlm.formats import FORMATS

RNG = np.random.default_rng(5)
SIZES = (48, 5, 19)


def _stored(format: str, rows: int, columns: int) -> np.ndarray:
    w = RNG.normal(size=(rows, columns)).astype(np.float32)
    return w if format == "f32" else FORMATS[format].quantize(w)


def test_a_matrix_made_of_its_parts_computes_the_same_over_the_same_memory(isa: str) -> None:
    x = RNG.normal(size=(5, 64)).astype(np.float32)
    for format in ("f32", "q8_0", "q4_0"):
        packed = native.pack([_stored(format, 40, 64)], format)
        again = native.from_parts(packed.parts)
        assert (again.rows, again.columns, again.format, again.nbytes) == (40, 64, format, packed.nbytes)
        assert np.shares_memory(again.parts[0][4], packed.parts[0][4])
        np.testing.assert_array_equal(native.linear(x, again), native.linear(x, packed))


def test_a_gated_matrix_keeps_its_kind() -> None:
    packed = native.pack_glu(_stored("q4_0", 24, 64), _stored("q4_0", 24, 64), "q4_0")
    again = native.from_parts(packed.parts)
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    assert again.glu
    np.testing.assert_array_equal(
        native.linear(x, again, activation="silu"), native.linear(x, packed, activation="silu")
    )


def test_parts_outlive_the_matrix_that_gave_them() -> None:
    data = native.pack([_stored("q8_0", 16, 32)], "q8_0").parts[0][4]
    assert int(data.astype(np.int64).sum()) > 0


@pytest.mark.parametrize("rows", [1, 7])
def test_a_stack_of_formats_gives_what_each_alone_gives(isa: str, rows: int) -> None:
    formats = ["q4_0", "q8_0", "f32"]
    stored = [_stored(format, size, 64) for format, size in zip(formats, SIZES, strict=True)]
    bias = RNG.normal(size=sum(SIZES)).astype(np.float32)
    residual = RNG.normal(size=(rows, sum(SIZES))).astype(np.float32)
    x = RNG.normal(size=(rows, 64)).astype(np.float32)
    stack = native.pack(stored, formats)
    found = native.linear(x, stack, bias, residual, scale=0.5)
    ends = np.cumsum((0, *SIZES))
    for i, (matrix, format) in enumerate(zip(stored, formats, strict=True)):
        part = slice(ends[i], ends[i + 1])
        alone = native.linear(x, native.pack([matrix], format), bias[part].copy(), residual[:, part].copy(), scale=0.5)
        np.testing.assert_array_equal(found[:, part], alone)
    assert stack.format == "q4_0+q8_0+f32" and stack.rows == sum(SIZES)
    np.testing.assert_array_equal(native.linear(x, native.from_parts(stack.parts)), native.linear(x, stack))


def test_parts_that_do_not_agree_are_refused() -> None:
    format, rows, columns, glu, data, scales = native.pack([_stored("q8_0", 32, 64)], "q8_0").parts[0]
    moved = np.empty(data.nbytes + 128, np.uint8)
    at = -moved.ctypes.data % 64 + 1
    moved[at : at + data.nbytes] = data
    for wrong in (
        (format, rows + 16, columns, glu, data, scales),
        (format, rows, columns + 1, glu, data, scales),
        (format, rows, columns, glu, data[:-1].copy(), scales),
        (format, rows, columns, glu, moved[at : at + data.nbytes], scales),
        (format, 0, columns, glu, data, scales),
        (format, 1 << 50, 1 << 20, glu, data, scales),
        ("q9_0", rows, columns, glu, data, scales),
    ):
        with pytest.raises(ValueError, match=r"q9_0|weights|multiple|shape|size|has"):
            native.from_parts([wrong])
    with pytest.raises(ValueError, match="at least one part"):
        native.from_parts([])

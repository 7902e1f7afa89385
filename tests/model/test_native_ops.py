"""The native side of ``ops``: what it adds to the kernels."""

from __future__ import annotations

import numpy as np
import pytest

from ownlm import native
from ownlm.formats import q8_0
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import LinearWeight, Matrix


@pytest.mark.parametrize("isa", native.isas())
def test_an_outlier_channel_kept_apart_spares_its_neighbours(isa: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 64)).astype("f4")
    x[:, [7, 40]] = 50
    blocks = q8_0.quantize(rng.normal(size=(24, 64)).astype("f4"))
    exact = x @ q8_0.dequantize(blocks).T
    before = native.isa()
    native.use_isa(isa)
    side = NativeOps()
    error = {
        outliers: np.abs(side.linear(x, side.prepare(LinearWeight((Matrix(blocks, "q8_0"),), (), outliers))) - exact)
        for outliers in ((), (7,), (7, 40))
    }
    native.use_isa(before)
    assert error[7,].mean() < error[()].mean() * 0.8
    assert error[7, 40].mean() < error[()].mean() / 10


def test_a_row_is_the_same_in_any_batch() -> None:
    rng = np.random.default_rng(1)
    side = NativeOps()
    w = side.prepare(LinearWeight((Matrix(q8_0.quantize(rng.normal(size=(24, 64)).astype("f4")), "q8_0"),), (), (3,)))
    x = rng.normal(size=(100, 64)).astype("f4")
    whole = side.linear(x, w)
    for row in (0, 57, 99):
        np.testing.assert_array_equal(side.linear(x[row : row + 1], w)[0], whole[row])

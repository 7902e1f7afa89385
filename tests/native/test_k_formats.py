"""Q4_K, Q5_K and Q6_K as they are stored: products against float64 NumPy over what ``ownlm.formats`` says they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from linear_support import K_FORMATS, gated, make, rounded, store
from ownlm import native
from ownlm.formats import FORMATS
from ownlm.native import plan
from plan_support import batches, ints

SHAPES = [(1, 16, 256), (2, 33, 256), (3, 7, 768), (12, 48, 512), (13, 64, 256), (100, 130, 512)]


def seen(record: Callable[[plan.Plan], int], ids: NDArray[np.int32], width: int) -> NDArray[np.float32]:
    """What a plan's value is for a text of these ids."""
    p = plan.Plan()
    p.logits(record(p), native.pack_f32(np.eye(width, dtype=np.float32)))
    ((_, facts),) = batches([len(ids)], len(ids))
    return p.run(replace(facts, ids=ints(ids)))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=8e-6, rtol=8e-6)


@pytest.mark.parametrize("format_", K_FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(isa: str, rng: np.random.Generator, shape: tuple[int, int, int], format_: str) -> None:
    x, w, bias, residual = make(rng, *shape)
    stored, meant = store(w, format_)
    packed = native.pack([stored], format_)
    product = rounded(x, format_) @ meant.T
    close(native.linear(x, packed), product)
    close(native.linear(x, packed, bias, residual, scale=0.3), 0.3 * (product + bias) + residual)


@pytest.mark.parametrize("format_", K_FORMATS)
def test_gated(isa: str, rng: np.random.Generator, format_: str) -> None:
    x, gate, _, _ = make(rng, 14, 40, 512)
    _, up, _, _ = make(rng, 14, 40, 512)
    (gate_stored, gate_meant), (up_stored, up_meant) = store(gate, format_), store(up, format_)
    packed = native.pack_glu(gate_stored, up_stored, format_)
    a = rounded(x, format_)
    expected = gated(a @ gate_meant.T, a @ up_meant.T, "silu")
    np.testing.assert_allclose(native.linear(x, packed, activation="silu"), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("format_", K_FORMATS)
def test_a_row_does_not_depend_on_its_batch(isa: str, threads: None, rng: np.random.Generator, format_: str) -> None:
    x, w, bias, _ = make(rng, 64, 48, 512)
    packed = native.pack([store(w, format_)[0]], format_)
    whole = native.linear(x, packed, bias)
    for n in (1, 2, 3):
        native.set_threads(n)
        for rows in range(1, 64):
            assert np.array_equal(native.linear(x[:rows], packed, bias), whole[:rows]), rows
        assert np.array_equal(native.linear(x[17:18], packed, bias), whole[17:18])


@pytest.mark.parametrize("format_", K_FORMATS)
@pytest.mark.parametrize("byte", [0x00, 0x5A, 0xFF])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extremes_do_not_saturate(isa: str, format_: str, byte: int, sign: int) -> None:
    """Every product of a group at its largest: sums in 16 bits come close to their limit."""
    form = FORMATS[format_]
    blocks = np.full((3, 2, form.bytes), byte, np.uint8)
    half = np.array([0.25], "<f2").view(np.uint8)
    if format_ == "q6_k":
        blocks[..., 208:] = half
    else:
        blocks[..., :2] = blocks[..., 2:4] = half
    rows = blocks.reshape(3, -1)
    x = np.full((5, 512), sign, np.float32)
    expected = x.astype(float) @ form.dequantize(rows).astype(float).T
    np.testing.assert_allclose(native.linear(x, native.pack([rows], format_)), expected, rtol=2e-6, atol=1e-2)


@pytest.mark.parametrize("format_", K_FORMATS)
def test_any_bytes_mean_what_the_format_says(isa: str, rng: np.random.Generator, format_: str) -> None:
    form = FORMATS[format_]
    blocks = rng.integers(0, 256, (37, 2, form.bytes), dtype=np.uint8)
    for at in (208,) if format_ == "q6_k" else (0, 2):
        blocks[..., at : at + 2] = rng.uniform(1e-3, 1e-2, (37, 2, 1)).astype("<f2").view(np.uint8)
    rows = blocks.reshape(37, -1)
    x = rng.standard_normal((4, 512), dtype=np.float32)
    expected = rounded(x, format_) @ form.dequantize(rows).astype(float).T
    found = native.linear(x, native.pack([rows], format_))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("format_", K_FORMATS)
def test_a_table_is_looked_up_as_it_is_stored(rng: np.random.Generator, format_: str) -> None:
    rows = rng.integers(0, 256, (9, FORMATS[format_].row_bytes(512)), dtype=np.uint8)
    for at in (208,) if format_ == "q6_k" else (0, 2):
        rows.reshape(9, 2, -1)[..., at : at + 2] = rng.uniform(0.01, 1, (9, 2, 1)).astype("<f2").view(np.uint8)
    ids = np.array([8, 0, 3, 3], np.int32)
    found = seen(lambda p: p.embed([("ids", rows, format_)], 512), ids, 512)
    np.testing.assert_allclose(found, FORMATS[format_].dequantize(rows)[ids], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 9, 40])
def test_a_mixed_stack_in_a_plan_is_what_each_matrix_gives(isa: str, rng: np.random.Generator, rows: int) -> None:
    """Query and key in Q4_K, value in Q6_K, as llama.cpp's Q4_K_M has them; and what else may be beside them."""
    formats, sizes = ["q4_k", "q4_k", "q6_k", "q8_0", "f32"], [64, 16, 16, 5, 3]
    parts = [rng.standard_normal((size, 512), dtype=np.float32) for size in sizes]
    stored = [store(part, format_)[0] for part, format_ in zip(parts, formats, strict=True)]
    table = rng.standard_normal((rows, 512), dtype=np.float32)
    bias = rng.standard_normal(sum(sizes), dtype=np.float32)
    stack = native.pack(stored, formats)
    ids = np.arange(rows, dtype=np.int32)
    found = seen(lambda p: p.linear(p.embed([("ids", table, "f32")], 512), stack, bias), ids, sum(sizes))
    alone = [native.linear(table, native.pack([s], f)) for s, f in zip(stored, formats, strict=True)]
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1) + bias, rtol=1e-6, atol=1e-6)
    assert stack.format == "q4_k+q6_k+q8_0+f32"


def test_bytes_are_about_the_files_own(rng: np.random.Generator) -> None:
    for format_, bits in (("q4_k", 4.625), ("q5_k", 5.625), ("q6_k", 6.5625)):
        packed = native.pack([store(rng.standard_normal((32, 512), dtype=np.float32), format_)[0]], format_)
        assert packed.nbytes == int(32 * 512 * bits / 8)

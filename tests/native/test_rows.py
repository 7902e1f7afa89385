"""Embedding, layer norm, pooling and the int8 scan."""

from __future__ import annotations

import numpy as np
import pytest

from ownlm import native
from ownlm.formats import q8_0


@pytest.mark.parametrize("width", [1, 5, 16, 33, 384])
@pytest.mark.parametrize("rows", [0, 1, 50])
def test_layer_norm(isa: str, rng: np.random.Generator, rows: int, width: int) -> None:
    x = rng.standard_normal((rows, width), dtype=np.float32) * 3 + 10
    residual = rng.standard_normal((rows, width), dtype=np.float32)
    weight, bias = rng.standard_normal((2, width), dtype=np.float32)
    for added in (None, residual):
        y = x.astype(float) if added is None else (x + added).astype(float)
        expected = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5) * weight + bias
        np.testing.assert_allclose(native.layer_norm(x, weight, bias, 1e-5, added), expected, atol=2e-4, rtol=1e-4)
    own = x.copy()
    native.layer_norm(own, weight, bias, 1e-5, out=own)
    assert np.array_equal(own, native.layer_norm(x, weight, bias, 1e-5))
    own = residual.copy()
    native.layer_norm(x, weight, bias, 1e-5, own, out=own)
    assert np.array_equal(own, native.layer_norm(x, weight, bias, 1e-5, residual))


def test_embed_looks_up_and_adds(isa: str, rng: np.random.Generator) -> None:
    first = rng.standard_normal((50, 64), dtype=np.float32)
    second = rng.standard_normal((7, 64), dtype=np.float32)
    blocks = q8_0.quantize(first)
    blocks.flags.writeable = False
    ids = rng.integers(0, 50, 1000).astype(np.int32)
    others = (ids % 7).astype(np.int32)
    assert np.array_equal(native.embed(ids, first), first[ids])
    assert np.array_equal(native.embed(ids, blocks), q8_0.dequantize(blocks)[ids])
    assert np.array_equal(native.embed_sum([ids, others], [first, second]), first[ids] + second[others])
    assert np.array_equal(
        native.embed_sum([others, ids], [second, blocks]), second[others] + q8_0.dequantize(blocks)[ids]
    )
    assert native.embed(ids[:0], first).shape == (0, 64)
    assert np.array_equal(native.embed(ids, first[:, :13].copy()), first[ids, :13])


def test_embed_refuses_an_id_outside_the_table() -> None:
    table = np.zeros((5, 8), np.float32)
    for bad in (5, -1):
        with pytest.raises(ValueError, match=f"id {bad} at position 1 is outside the table of 5 rows"):
            native.embed(np.array([0, bad], np.int32), table)
    with pytest.raises(ValueError, match="as many tables"):
        native.embed_sum([np.array([0], np.int32)], [table, table])
    with pytest.raises(ValueError, match="table has shape"):
        native.embed_sum([np.array([0], np.int32)] * 2, [table, np.zeros((5, 9), np.float32)])


@pytest.mark.parametrize("width", [3, 32, 384])
def test_mean_pool(isa: str, rng: np.random.Generator, width: int) -> None:
    starts = np.array([0, 3, 3, 4, 90], np.int32)
    x = rng.standard_normal((90, width), dtype=np.float32)
    means = np.array(
        [x[a:b].astype(float).mean(axis=0) if b > a else np.zeros(width) for a, b in [(0, 3), (3, 3), (3, 4), (4, 90)]]
    )
    np.testing.assert_allclose(native.mean_pool(x, starts, False), means, atol=1e-6)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(native.mean_pool(x, starts, True), means / np.where(norms > 0, norms, 1), atol=1e-6)
    assert native.mean_pool(x[:0], np.zeros(1, np.int32), True).shape == (0, width)


@pytest.mark.parametrize("width", [1, 31, 64, 77, 384])
def test_dot_i8_is_exact(isa: str, rng: np.random.Generator, width: int) -> None:
    vectors = rng.integers(-128, 128, (500, width), dtype=np.int8)
    vectors[0], vectors[1] = -128, 127
    for query in (vectors[2], vectors[0], vectors[1]):
        expected = vectors.astype(np.int32) @ query.astype(np.int32)
        assert np.array_equal(native.dot_i8(vectors, query), expected)
    assert native.dot_i8(vectors[:0], vectors[0]).shape == (0,)
    with pytest.raises(ValueError, match="query has shape"):
        native.dot_i8(vectors, np.zeros(width + 1, np.int8))


def test_results_outlive_their_call_and_share_no_memory(rng: np.random.Generator) -> None:
    """Dropped results are used again for later ones, never those that are still held."""
    x = rng.standard_normal((200, 384), dtype=np.float32)
    weight, bias = np.ones(384, np.float32), np.zeros(384, np.float32)
    first = native.layer_norm(x, weight, bias, 1e-5)
    kept = first.copy()
    others = [native.layer_norm(x * n, weight, bias, 1e-5) for n in range(5)]
    assert np.array_equal(first, kept)
    assert not any(np.shares_memory(first, other) for other in others)
    view = first[10:20]
    address = first.ctypes.data
    del first, others
    native.layer_norm(x * 7, weight, bias, 1e-5)
    assert np.array_equal(view, kept[10:20])
    del view
    assert native.layer_norm(x, weight, bias, 1e-5).ctypes.data == address

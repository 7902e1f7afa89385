from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.formats import q8_0


def reference_block(weights: list[float]) -> bytes:
    """GGML's rules, one float32 at a time: d = max|w| / 127, q = roundf(w * (1 / d)), d kept as fp16."""
    single = [np.float32(w) for w in weights]
    d = np.float32(max(abs(w) for w in single) / np.float32(127))
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / d if d else np.float32(0)
    if not np.isfinite(inverse):
        inverse = np.float32(0)
    quants = []
    for w in single:
        scaled = float(w * inverse)
        quants.append(int(abs(scaled) + 0.5) * (1 if scaled > 0 else -1))  # in float64 the half adds exactly
    return struct.pack("<e32b", d, *quants)


weights = st.lists(st.floats(-8e6, 8e6, width=32), min_size=32, max_size=32)


@given(weights)
def test_bytes_follow_the_rules(block: list[float]) -> None:
    assert q8_0.quantize(np.array(block, np.float32)).tobytes() == reference_block(block)


@given(st.integers(0, 2**32 - 1))
def test_ordinary_weights_and_their_error(seed: int) -> None:
    w = np.random.default_rng(seed).standard_normal((3, 2, 64), dtype=np.float32)
    blocks = q8_0.quantize(w)
    assert blocks.shape == (3, 2, 68)
    assert blocks.tobytes() == b"".join(reference_block(row) for row in w.reshape(-1, 32).tolist())
    # half a step, and what fp16 rounds off the scale: 2^-11 of up to 127 steps
    step = np.abs(w.reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    error = np.abs(q8_0.dequantize(blocks) - w).reshape(-1, 32)
    assert np.all(error <= step * (0.5 + 127 / 2048 + 1e-3))


def test_ties_go_away_from_zero() -> None:
    w = np.zeros(32, np.float32)
    w[:5] = [127, 0.5, -0.5, 1.5, np.nextafter(np.float32(0.5), np.float32(0))]
    assert q8_0.quantize(w)[2:7].view(np.int8).tolist() == [127, 1, -1, 2, 0]


def test_quantizing_again_changes_nothing() -> None:
    """With a power of two as scale the weights are kept exactly, so the bytes are too."""
    q = np.random.default_rng(0).integers(-127, 128, (10, 32)).astype(np.float32)
    q[:, 0] = 127
    blocks = q8_0.quantize(q / 64)
    assert np.array_equal(q8_0.dequantize(blocks), q / 64)
    assert np.array_equal(q8_0.quantize(q8_0.dequantize(blocks)), blocks)


def test_zeros_tiny_and_empty() -> None:
    assert not q8_0.quantize(np.zeros((2, 32), np.float32)).any()
    assert not q8_0.dequantize(q8_0.quantize(np.full(32, 1e-44, np.float32))).any()
    assert q8_0.quantize(np.zeros((0, 64), np.float32)).shape == (0, 68)
    assert q8_0.dequantize(np.zeros((0, 68), np.uint8)).shape == (0, 64)


def test_more_blocks_than_one_stride() -> None:
    w = np.random.default_rng(3).standard_normal((1 << 15) * 32 + 96, dtype=np.float32)
    assert q8_0.quantize(w)[-102:].tobytes() == b"".join(reference_block(b) for b in w[-96:].reshape(3, 32).tolist())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 9e6])
def test_values_that_do_not_fit_are_refused(bad: float) -> None:
    w = np.zeros((1, 32), np.float32)
    w[0, 3] = bad
    with pytest.raises(ValueError, match="Q8_0 cannot"):
        q8_0.quantize(w)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for shape in ((31,), (2, 33), ()):
        with pytest.raises(ValueError, match="multiple of 32"):
            q8_0.quantize(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="multiple of 34"):
        q8_0.dequantize(np.zeros((2, 33), np.uint8))
    with pytest.raises(ValueError, match="give uint8"):
        q8_0.dequantize(np.zeros((2, 34), np.int8))

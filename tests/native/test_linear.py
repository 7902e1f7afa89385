"""The linear kernels against float64 NumPy, for every instruction set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import q8_0

Floats = NDArray[np.float32]
_erf = np.vectorize(math.erf, otypes=[float])
SHAPES = [(0, 5, 32), (1, 1, 32), (1, 33, 64), (2, 16, 32), (5, 17, 96), (13, 48, 32), (49, 40, 160), (100, 384, 384)]


def gelu(x: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    if kind == "gelu":
        return 0.5 * x * (1 + _erf(x / math.sqrt(2)))
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x


def rounded(x: Floats) -> NDArray[np.float64]:
    """x as the kernels quantize it: int8 in groups of 32, in the same float32 arithmetic."""
    groups = x.reshape(len(x), x.shape[1] // 32, 32)
    peak = np.abs(groups).max(axis=2, keepdims=True, initial=0)
    with np.errstate(divide="ignore"):
        inverse = np.where(peak > 0, np.float32(127) / peak, np.float32(0))
    return (np.rint(groups * inverse) * (peak / np.float32(127)).astype(float)).reshape(x.shape)


def make(rng: np.random.Generator, rows: int, outputs: int, inputs: int) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        rng.standard_normal((rows, inputs), dtype=np.float32),
        rng.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(math.sqrt(inputs)),
        rng.standard_normal(outputs, dtype=np.float32),
        rng.standard_normal((rows, outputs), dtype=np.float32),
    )


@pytest.mark.parametrize("activation", ["", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(isa: str, rng: np.random.Generator, shape: tuple[int, int, int], activation: str) -> None:
    x, w, bias, residual = make(rng, *shape)
    blocks = q8_0.quantize(w)
    for packed, exact_x, exact_w in [
        (native.pack_f32(w), x.astype(float), w.astype(float)),
        (native.pack_q8_0(blocks), rounded(x), q8_0.dequantize(blocks).astype(float)),
    ]:
        product = exact_x @ exact_w.T
        plain = native.linear(x, packed, activation=activation)
        np.testing.assert_allclose(plain, gelu(product, activation), atol=2e-6, rtol=2e-6)
        full = native.linear(x, packed, bias, residual, activation)
        np.testing.assert_allclose(full, gelu(product + bias, activation) + residual, atol=3e-6, rtol=3e-6)


def test_odd_inputs_in_float(isa: str, rng: np.random.Generator) -> None:
    for inputs in (1, 7, 33):
        x, w, bias, _ = make(rng, 3, 5, inputs)
        np.testing.assert_allclose(native.linear(x, native.pack_f32(w), bias), x @ w.T + bias, atol=2e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_weights_do_not_saturate(isa: str, sign: int) -> None:
    """All products of a group at their largest: 16-bit partial sums would overflow. -128 is outside what we write."""
    x = np.full((3, 64), sign, np.float32)
    for q in (-128, -127, 127):
        blocks = np.zeros((2, 2, 34), np.uint8)
        blocks[..., :2] = np.array([1.0], "<f2").view(np.uint8)
        blocks[..., 2:] = np.array([q], np.int8).view(np.uint8)
        out = native.linear(x, native.pack_q8_0(blocks.reshape(2, 68)))
        np.testing.assert_allclose(out, np.full((3, 2), sign * q * 64), rtol=1e-6)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_gelu_over_its_range(isa: str, activation: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 4001), [-1e30, 1e30, 0, -0.0, 1e-30]]).astype(np.float32)[:, None]
    out = native.linear(x, native.pack_f32(np.ones((1, 1), np.float32)), activation=activation)
    expected = gelu(x.astype(float), activation)
    assert np.all(np.abs(out - expected) <= 1e-6 * np.maximum(np.abs(x), 1e-3))


@pytest.mark.parametrize("format_", ["f32", "q8_0"])
def test_a_row_does_not_depend_on_its_batch(isa: str, threads: None, rng: np.random.Generator, format_: str) -> None:
    x, w, bias, residual = make(rng, 150, 100, 96)
    packed = native.pack_f32(w) if format_ == "f32" else native.pack_q8_0(q8_0.quantize(w))
    whole = native.linear(x, packed, bias, residual, "gelu")
    for n in (1, 2, 3):
        native.set_threads(n)
        assert np.array_equal(native.linear(x, packed, bias, residual, "gelu"), whole)
        for start, stop in [(0, 1), (149, 150), (3, 10), (7, 56), (20, 117)]:
            part = native.linear(x[start:stop], packed, bias, residual[start:stop], "gelu")
            assert np.array_equal(part, whole[start:stop])


def test_instruction_sets_agree(rng: np.random.Generator) -> None:
    x, w, bias, _ = make(rng, 20, 50, 384)
    packed = native.pack_q8_0(q8_0.quantize(w))
    before = native.isa()
    results = []
    for name in native.isas():
        native.use_isa(name)
        results.append(native.linear(x, packed, bias))
    native.use_isa(before)
    for result in results:
        np.testing.assert_allclose(result, results[0], atol=2e-6, rtol=1e-6)


def test_one_group_is_exact_everywhere(isa: str, rng: np.random.Generator) -> None:
    """Scales of one leave the integer product alone, which is the same to the last bit."""
    q = rng.integers(-127, 128, (40, 32))
    q[:, 0] = 127
    x = q.astype(np.float32)
    w = rng.integers(-127, 128, (21, 32))
    blocks = np.zeros((21, 34), np.uint8)
    blocks[:, :2] = np.array([1.0], "<f2").view(np.uint8)
    blocks[:, 2:] = w.astype(np.int8).view(np.uint8)
    assert np.array_equal(native.linear(x, native.pack_q8_0(blocks)), q @ w.T)


def test_zero_and_tiny_activations(isa: str) -> None:
    w = native.pack_q8_0(q8_0.quantize(np.ones((4, 32), np.float32)))
    for value in (0.0, 1e-38, 1e-44):
        assert np.abs(native.linear(np.full((2, 32), value, np.float32), w)).max() <= 1e-36


def test_out_and_residual_may_be_the_same(isa: str, rng: np.random.Generator) -> None:
    x, w, bias, residual = make(rng, 60, 70, 64)
    packed = native.pack_q8_0(q8_0.quantize(w))
    expected = native.linear(x, packed, bias, residual)
    out = residual.copy()
    assert native.linear(x, packed, bias, out, out=out) is out
    assert np.array_equal(out, expected)


def test_unaligned_and_read_only_input(isa: str, rng: np.random.Generator) -> None:
    x, w, bias, _ = make(rng, 4, 6, 32)
    expected = native.linear(x, native.pack_q8_0(q8_0.quantize(w)), bias)

    def shifted(array: NDArray[np.generic]) -> NDArray[np.generic]:
        data = b"?" + array.tobytes()
        return np.frombuffer(data, array.dtype, offset=1).reshape(array.shape)

    moved = shifted(x)
    assert not moved.flags.writeable
    assert np.array_equal(native.linear(moved, native.pack_q8_0(shifted(q8_0.quantize(w))), shifted(bias)), expected)


def test_packed_weight_says_what_it_is(rng: np.random.Generator) -> None:
    w = rng.standard_normal((17, 64), dtype=np.float32)
    packed = native.pack_q8_0(q8_0.quantize(w))
    assert (packed.rows, packed.columns, packed.format) == (17, 64, "q8_0")
    assert packed.nbytes == 32 * 64 + 32 * 2 * 2
    assert native.pack_f32(w).format == "f32"
    assert isinstance(packed, native.Linear)


def test_wrong_arguments_are_value_errors(rng: np.random.Generator) -> None:
    x, w, bias, residual = make(rng, 3, 5, 32)
    packed = native.pack_f32(w)
    for message, call in [
        (r"x has shape \(3, 31\), not \(any, 32\)", lambda: native.linear(x[:, :31].copy(), packed)),
        ("x is not C-contiguous", lambda: native.linear(x[:, ::-1], packed)),
        ("x holds 'd', not float32", lambda: native.linear(x.astype(float), packed)),
        ("two axes", lambda: native.linear(x[0], packed)),
        (r"bias has shape \(4,\), not \(5,\)", lambda: native.linear(x, packed, bias[:4])),
        (r"residual has shape \(2, 5\)", lambda: native.linear(x, packed, bias, residual[:2])),
        (r"out has shape \(2, 5\)", lambda: native.linear(x, packed, out=residual[:2])),
        ("activation is 'relu'", lambda: native.linear(x, packed, activation="relu")),
        ("multiple of 34", lambda: native.pack_q8_0(np.zeros((2, 33), np.uint8))),
        ("not uint8", lambda: native.pack_q8_0(np.zeros((2, 34), np.int8))),
        ("w has shape", lambda: native.pack_f32(bias)),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_output_that_cannot_be_written_is_refused(rng: np.random.Generator) -> None:
    x, w, _, _ = make(rng, 3, 32, 32)
    packed = native.pack_f32(w)
    frozen = np.zeros((3, 32), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is not a writable"):
        native.linear(x, packed, out=frozen)
    with pytest.raises(ValueError, match="out overlaps x"):
        native.linear(x, packed, out=x)
    both = np.zeros((4, 32), np.float32)
    with pytest.raises(ValueError, match="overlaps residual in part"):
        native.linear(x, packed, residual=both[:3], out=both[1:])

"""Every block format against GGML's published rules, as the ``gguf`` package implements them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.formats import FORMATS, bfloat16, mxfp4

gguf = pytest.importorskip("gguf")
LEGACY = ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4")
ALL = tuple(FORMATS)
# Relative root-mean-square error on normally distributed weights, in percent: what was measured, and a little room.
ERROR = {
    "q8_0": 0.56, "q6_k": 1.83, "q5_k": 3.68, "q5_1": 3.9, "q5_0": 4.4,
    "q4_k": 7.3, "q4_1": 8.0, "q4_0": 8.8, "mxfp4": 11.8,
}  # fmt: skip


def kind(name: str) -> object:
    return gguf.GGMLQuantizationType[name.upper()]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("name", LEGACY)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-10, 10))
@settings(max_examples=30, deadline=None)
def test_bytes_equal_the_reference_quantizer(name: str, seed: int, exponent: int) -> None:
    w = normal(seed, 3, 256) * np.float32(2.0**exponent)
    w[0, 5:9] = 0
    w[1, :32] = 0
    w[2, 32:40] = np.abs(w[2]).max()  # equal maxima: the first is taken
    w[2, 36] *= -1
    assert np.array_equal(FORMATS[name].quantize(w), gguf.quants.quantize(w, kind(name)))


@pytest.mark.parametrize("name", LEGACY)
@given(block=st.lists(st.floats(-4096, 4096, width=16), min_size=32, max_size=32))
@settings(max_examples=60, deadline=None)
def test_bytes_equal_on_values_with_many_ties(name: str, block: list[float]) -> None:
    w = np.array([block], np.float32)
    assert np.array_equal(FORMATS[name].quantize(w), gguf.quants.quantize(w, kind(name)))


@pytest.mark.parametrize("name", ALL)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_any_bytes_dequantize_bit_for_bit_as_the_reference(name: str, seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 2 * FORMATS[name].bytes), np.uint8)
    with np.errstate(all="ignore"):
        ours, theirs = FORMATS[name].dequantize(blocks), gguf.quants.dequantize(blocks, kind(name))
    same = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    assert ours.shape == theirs.shape == (5, 2 * FORMATS[name].block)
    assert same.all()


@pytest.mark.parametrize("name", ALL)
def test_error_on_ordinary_weights(name: str) -> None:
    w = normal(7, 64, 1024)
    error = np.sqrt(np.mean((FORMATS[name].dequantize(FORMATS[name].quantize(w)) - w) ** 2))
    assert 100 * error < ERROR[name]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1e-3, 1.0, 1e4])
def test_scale_and_offset_do_not_break_the_search(name: str, scale: float) -> None:
    """No magnitude or shift makes a format worse than its own steps; below fp16's range it gives zeros."""
    for shift in (0.0, 3.0, -3.0):
        w = (normal(8, 4, 512) + np.float32(shift)) * np.float32(scale)
        back = FORMATS[name].dequantize(FORMATS[name].quantize(w))
        assert np.isfinite(back).all()
        if scale >= 1e-3:
            assert np.sqrt(np.mean((back - w) ** 2)) < 0.25 * scale * (1 + abs(shift) / 3)


@pytest.mark.parametrize("name", ALL)
def test_special_rows(name: str) -> None:
    form = FORMATS[name]
    assert not form.dequantize(form.quantize(np.zeros((2, 256), np.float32))).any()
    assert form.quantize(np.zeros((0, 512), np.float32)).shape == (0, form.row_bytes(512))
    assert form.dequantize(np.zeros((0, 2 * form.bytes), np.uint8)).shape == (0, 2 * form.block)
    assert form.quantize(normal(1, 2, 3, 256)).shape == (2, 3, form.row_bytes(256))
    for value in (1.0, -1.0):
        constant = np.full((1, 256), value, np.float32)
        assert np.allclose(form.dequantize(form.quantize(constant)), constant, rtol=2e-2)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_do_not_fit_are_refused(name: str, bad: float) -> None:
    w = np.zeros((1, 256), np.float32)
    w[0, 200] = bad
    with pytest.raises(ValueError, match=f"{name.upper()} cannot"):
        FORMATS[name].quantize(w)


@pytest.mark.parametrize("name", [name for name in ALL if name != "mxfp4"])
def test_values_too_large_for_the_scale_are_refused(name: str) -> None:
    for sign in (1, -1):
        with pytest.raises(ValueError, match=f"{name.upper()} cannot"):
            FORMATS[name].quantize(np.full((1, 256), sign * 9e6, np.float32))


@pytest.mark.parametrize("name", ALL)
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    form = FORMATS[name]
    for shape in ((form.block - 1,), (2, form.block + 1), ()):
        with pytest.raises(ValueError, match=f"multiple of {form.block}"):
            form.quantize(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=f"multiple of {form.bytes}"):
        form.dequantize(np.zeros((2, form.bytes + 1), np.uint8))
    with pytest.raises(ValueError, match="no multiple"):
        form.row_bytes(form.block + 1)


@pytest.mark.parametrize("name", ALL)
def test_parts_are_joined_in_order(name: str) -> None:
    w = normal(3, (1 << 18) // 256 + 3, 256)
    assert np.array_equal(FORMATS[name].quantize(w)[-4:], FORMATS[name].quantize(w[-4:]))
    blocks = FORMATS[name].quantize(w)
    assert np.array_equal(FORMATS[name].dequantize(blocks)[-4:], FORMATS[name].dequantize(blocks[-4:]))


@pytest.mark.parametrize("name", ["q4_k", "q5_k", "q6_k"])
def test_the_scale_search_beats_the_largest_magnitude_rule(name: str) -> None:
    """At equal or fewer bits a K format loses less than the plain format of as many levels."""
    w = normal(11, 64, 1024) ** 3  # heavy tails, as trained weights have
    plain = {"q4_k": "q4_0", "q5_k": "q5_0", "q6_k": "q5_1"}[name]
    error = {n: np.mean((FORMATS[n].dequantize(FORMATS[n].quantize(w)) - w) ** 2) for n in (name, plain)}
    assert error[name] < 0.8 * error[plain]


@given(seed=st.integers(0, 2**32 - 1))
def test_mxfp4_in_the_layout_of_the_hub(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, 256, (3, 2, 16), np.uint8)
    exponents = rng.integers(100, 140, (3, 2), np.uint8)
    blocks = mxfp4.from_pairs(pairs, exponents)
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(3, 2, 32)
    expected = values[nibbles] * 2.0 ** (exponents[..., None].astype(float) - 127)
    assert np.array_equal(mxfp4.dequantize(blocks), expected.reshape(3, 64).astype(np.float32))
    again = mxfp4.to_pairs(blocks)
    assert np.array_equal(again[0], pairs)
    assert np.array_equal(again[1], exponents)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64))
def test_bfloat16_equals_the_reference(bits: list[int]) -> None:
    w = np.array(bits, np.uint32).view(np.float32)
    ours = bfloat16.from_float32(w)
    assert np.array_equal(ours, gguf.quants.quantize(w[None], gguf.GGMLQuantizationType.BF16).view(np.uint16)[0])
    assert np.array_equal(bfloat16.to_float32(ours).view(np.uint32), ours.astype(np.uint32) << 16)

"""Linear layers over weights of every format, against float64 NumPy over what ``ownlm.formats`` says they mean."""

from __future__ import annotations

import numpy as np
import pytest

from linear_support import FORMATS, activated, gated, make, rounded, store
from ownlm import native
from ownlm.formats import q4_0, q8_0

# around the tiles' heights and widths, and the blocks' lengths
SHAPES = [(1, 1, 32), (1, 33, 64), (2, 16, 96), (3, 31, 32), (5, 17, 160), (12, 48, 32), (13, 32, 96), (25, 70, 64)]
SHAPES += [(49, 40, 160), (100, 130, 288)]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=4e-6, rtol=4e-6)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_numpy(isa: str, rng: np.random.Generator, shape: tuple[int, int, int], format_: str) -> None:
    x, w, bias, residual = make(rng, *shape)
    stored, meant = store(w, format_)
    packed = native.pack([stored], format_)
    product = rounded(x, format_) @ meant.T
    close(native.linear(x, packed), product)
    for activation in ("", "gelu", "gelu_tanh", "silu", "relu2"):
        expected = 0.3 * activated(product + bias, activation) + residual
        close(native.linear(x, packed, bias, residual, activation, scale=0.3), expected)
    close(native.linear(x, packed, scale=-2.0), -2 * product)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gated(isa: str, rng: np.random.Generator, shape: tuple[int, int, int], format_: str) -> None:
    x, gate, gate_bias, residual = make(rng, *shape)
    _, up, up_bias, _ = make(rng, *shape)
    gate *= 4  # beyond the clamps of gpt-oss
    up *= 4
    (gate_stored, gate_meant), (up_stored, up_meant) = store(gate, format_), store(up, format_)
    packed = native.pack_glu(gate_stored, up_stored, format_)
    assert packed.glu
    a = rounded(x, format_)
    bias = np.concatenate([gate_bias, up_bias])
    for kind in ("silu", "gelu", "gelu_tanh", "swiglu_oai"):
        plain = gated(a @ gate_meant.T, a @ up_meant.T, kind)
        np.testing.assert_allclose(native.linear(x, packed, activation=kind), plain, atol=2e-5, rtol=2e-5)
        full = 0.5 * gated(a @ gate_meant.T + gate_bias, a @ up_meant.T + up_bias, kind) + residual
        found = native.linear(x, packed, bias, residual, kind, scale=0.5)
        np.testing.assert_allclose(found, full, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("glu", [False, True])
def test_a_row_does_not_depend_on_its_batch(
    isa: str, threads: None, rng: np.random.Generator, format_: str, glu: bool
) -> None:
    x, w, _, _ = make(rng, 150, 132, 96)
    stored, _ = store(w, format_)
    packed = native.pack_glu(stored[:66].copy(), stored[66:].copy(), format_) if glu else native.pack([stored], format_)
    bias = rng.standard_normal(132, dtype=np.float32)
    residual = rng.standard_normal((150, 66 if glu else 132), dtype=np.float32)
    whole = native.linear(x, packed, bias, residual, "silu")
    for n in (1, 2, 3):
        native.set_threads(n)
        assert np.array_equal(native.linear(x, packed, bias, residual, "silu"), whole)
        for start, stop in [(0, 1), (149, 150), (3, 10), (7, 56), (20, 117), (0, 13)]:
            part = native.linear(x[start:stop], packed, bias, residual[start:stop], "silu")
            assert np.array_equal(part, whole[start:stop])


@pytest.mark.parametrize("format_", FORMATS)
def test_every_number_of_rows(isa: str, rng: np.random.Generator, format_: str) -> None:
    """Every height of a tile and every way to cut rows into tiles."""
    x, w, bias, _ = make(rng, 64, 48, 64)
    stored, meant = store(w, format_)
    packed = native.pack([stored], format_)
    expected = rounded(x, format_) @ meant.T + bias
    whole = native.linear(x, packed, bias)
    close(whole, expected)
    for rows in range(1, 64):
        assert np.array_equal(native.linear(x[:rows], packed, bias), whole[:rows]), rows


@pytest.mark.parametrize("format_", FORMATS)
def test_instruction_sets_agree(rng: np.random.Generator, format_: str) -> None:
    """To the last bit where products are whole numbers: sums of groups are fused in one order by all but "portable"."""
    x, w, bias, _ = make(rng, 20, 50, 384)
    packed = native.pack([store(w, format_)[0]], format_)
    before = native.isa()
    results = []
    for name in native.isas():
        native.use_isa(name)
        results.append(native.linear(x, packed, bias))
    native.use_isa(before)
    for result in results:
        np.testing.assert_allclose(result, results[0], atol=2e-6, rtol=1e-6)
        if format_ not in ("f32", "bf16") and result is not results[0]:
            assert np.array_equal(result, results[1])


@pytest.mark.parametrize("format_", FORMATS)
def test_stacked_matrices_are_one(isa: str, rng: np.random.Generator, format_: str) -> None:
    x, w, bias, _ = make(rng, 3, 61, 64)
    stored, _ = store(w, format_)
    parts = [np.ascontiguousarray(part) for part in np.split(stored, [0, 5, 6, 6, 40])]
    one, many = native.pack([stored], format_), native.pack(parts, format_)
    assert (many.rows, many.columns, many.nbytes) == (61, 64, one.nbytes)
    assert np.array_equal(native.linear(x, many, bias), native.linear(x, one, bias))


@pytest.mark.parametrize("inputs", [1, 7, 33])
@pytest.mark.parametrize("format_", ["f32", "bf16"])
def test_odd_inputs(isa: str, rng: np.random.Generator, inputs: int, format_: str) -> None:
    x, w, bias, _ = make(rng, 3, 37, inputs)
    stored, meant = store(w, format_)
    close(native.linear(x, native.pack([stored], format_), bias), rounded(x, format_) @ meant.T + bias)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("byte", [0x00, 0x88, 0xFF, 0x0F, 0xF0])
def test_extreme_four_bit_weights_do_not_saturate(isa: str, sign: int, byte: int) -> None:
    """All products of a group at their largest: 16-bit partial sums come close to their limit."""
    blocks = np.full((2, 2, 18), byte, np.uint8)
    blocks[..., :2] = np.array([1.0], "<f2").view(np.uint8)
    rows = blocks.reshape(2, 36)
    x = np.full((5, 64), sign, np.float32)
    expected = x.astype(float) @ q4_0.dequantize(rows).astype(float).T
    np.testing.assert_allclose(native.linear(x, native.pack([rows], "q4_0")), expected, rtol=1e-6, atol=1e-4)


def test_not_a_number_is_not_hidden(isa: str, rng: np.random.Generator) -> None:
    x, w, _, _ = make(rng, 2, 20, 64)
    x[1, 3] = np.nan
    for format_ in ("f32", "bf16"):
        found = native.linear(x, native.pack([store(w, format_)[0]], format_))
        assert np.isfinite(found[0]).all()
        assert np.isnan(found[1]).all()


def test_no_rows_and_no_outputs(isa: str, rng: np.random.Generator) -> None:
    x, w, _, _ = make(rng, 2, 20, 64)
    for format_ in FORMATS:
        stored, _ = store(w, format_)
        assert native.linear(x[:0], native.pack([stored], format_)).shape == (0, 20)
        assert native.linear(x, native.pack([stored[:0]], format_)).shape == (2, 0)


def test_packed_weight_says_what_it_is(rng: np.random.Generator) -> None:
    w = rng.standard_normal((17, 64), dtype=np.float32)
    for format_, bytes_a_column in [("f32", 256), ("bf16", 128), ("q8_0", 68), ("q4_0", 36)]:
        packed = native.pack([store(w, format_)[0]], format_)
        assert (packed.rows, packed.columns, packed.format, packed.glu) == (17, 64, format_, False)
        assert packed.nbytes == 32 * bytes_a_column
    both = native.pack_glu(w, w, "f32")
    assert (both.rows, both.columns, both.nbytes) == (34, 64, 64 * 256)


def test_wrong_arguments_are_value_errors(rng: np.random.Generator) -> None:
    x, w, _, _ = make(rng, 3, 5, 64)
    blocks = q4_0.quantize(w)
    packed = native.pack_glu(w, w, "f32")
    for message, call in [
        ("37 bytes, not a multiple of 18", lambda: native.pack([np.zeros((2, 37), np.uint8)], "q4_0")),
        ("33 bytes, not a multiple of 34", lambda: native.pack([np.zeros((2, 33), np.uint8)], "q8_0")),
        ("gate has rows of 34 bytes", lambda: native.pack_glu(np.zeros((2, 34), np.uint8), blocks, "q4_0")),
        ("not uint16", lambda: native.pack([w], "bf16")),
        ("not uint8", lambda: native.pack([w], "q4_0")),
        ("format is 'q5_0'", lambda: native.pack([blocks], "q5_0")),
        ("needs a matrix", lambda: native.pack([], "f32")),
        ("cannot be stacked", lambda: native.pack([w, w[:, :32].copy()], "f32")),
        ("not C-contiguous", lambda: native.pack([blocks[:, ::2]], "q4_0")),
        ("differ in shape", lambda: native.pack_glu(w, w[:3], "f32")),
        (r"x has shape \(3, 32\), not \(any, 64\)", lambda: native.linear(x[:, :32].copy(), packed, activation="silu")),
        ("activation is ''", lambda: native.linear(x, packed)),
        (
            r"residual has shape \(3, 10\), not \(3, 5\)",
            lambda: native.linear(x, packed, residual=np.zeros((3, 10), np.float32), activation="silu"),
        ),
        ("activation is 'swiglu_oai'", lambda: native.linear(x, native.pack([w], "f32"), activation="swiglu_oai")),
        ("w has shape", lambda: native.pack([q8_0.quantize(w)[0]], "q8_0")),
    ]:
        with pytest.raises(ValueError, match=message):
            call()

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm import native


def reference(qkv: NDArray[np.float32], starts: NDArray[np.int32], heads: int, scale: float) -> NDArray[np.float64]:
    width = qkv.shape[1] // 3
    out = np.zeros((len(qkv), width))
    for begin, end in itertools.pairwise(starts):
        if end == begin:
            continue
        q, k, v = (
            part.reshape(end - begin, heads, -1).swapaxes(0, 1).astype(float)
            for part in np.split(qkv[begin:end], 3, axis=1)
        )
        scores = q @ k.swapaxes(1, 2) * scale
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        out[begin:end] = (weights @ v).swapaxes(0, 1).reshape(end - begin, width)
    return out


def tolerance(isa: str) -> float:
    """bfloat16 keeps 8 bits, so a score of 10 is off by up to 0.04, and its weight by as much in proportion."""
    return 0.15 if isa in ("avx512_bf16", "amx_int8") else 2e-5


@pytest.mark.parametrize(("heads", "width"), [(12, 32), (1, 1), (3, 20), (2, 64), (2, 40)])
def test_matches_numpy(isa: str, rng: np.random.Generator, heads: int, width: int) -> None:
    starts = np.cumsum([0, 0, 1, 2, 16, 17, 0, 50, 130, 0]).astype(np.int32)
    qkv = rng.standard_normal((starts[-1], 3 * heads * width), dtype=np.float32) * 2
    out = native.attention_varlen(qkv, starts, heads, width**-0.5)
    np.testing.assert_allclose(out, reference(qkv, starts, heads, width**-0.5), atol=tolerance(isa))


def test_large_scores(isa: str, rng: np.random.Generator) -> None:
    """Far apart scores: the exponential of the smallest is zero, of the largest finite. Whole numbers suit bfloat16."""
    qkv = rng.integers(-20, 21, (40, 3 * 32)).astype(np.float32)
    starts = np.array([0, 40], np.int32)
    np.testing.assert_allclose(
        native.attention_varlen(qkv, starts, 1, np.log(2)), reference(qkv, starts, 1, np.log(2)), atol=1e-3, rtol=1e-4
    )


def test_instruction_sets_agree_on_typical_values(isa: str, rng: np.random.Generator) -> None:
    qkv = rng.standard_normal((175, 3 * 4 * 32), dtype=np.float32)
    starts = np.array([0, 175], np.int32)
    error = native.attention_varlen(qkv, starts, 4, 32**-0.5) - reference(qkv, starts, 4, 32**-0.5)
    assert np.sqrt(np.mean(error**2)) < (1e-3 if isa in ("avx512_bf16", "amx_int8") else 1e-6)


def test_sequences_do_not_see_each_other(isa: str, threads: None, rng: np.random.Generator) -> None:
    lengths = [70, 3, 129, 1, 48]
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    qkv = rng.standard_normal((starts[-1], 3 * 2 * 32), dtype=np.float32)
    whole = native.attention_varlen(qkv, starts, 2, 0.2)
    for n in (1, 3):
        native.set_threads(n)
        for begin, end in itertools.pairwise(starts):
            alone = native.attention_varlen(qkv[begin:end], np.array([0, end - begin], np.int32), 2, 0.2)
            assert np.array_equal(alone, whole[begin:end])


def test_empty_batch(isa: str) -> None:
    out = native.attention_varlen(np.zeros((0, 96), np.float32), np.zeros(1, np.int32), 1, 1.0)
    assert out.shape == (0, 32)


def test_wrong_arguments_are_value_errors() -> None:
    qkv = np.zeros((4, 96), np.float32)
    for message, starts, heads in [
        ("must run from 0 to the number of rows, 4", [0, 3], 1),
        ("must run from 0", [1, 4], 1),
        ("must run from 0", [], 1),
        ("falls at position 2", [0, 3, 2, 4], 1),
        ("not a multiple of 3 x 5 heads", [0, 4], 5),
        ("not a multiple of 3 x 0 heads", [0, 4], 0),
    ]:
        with pytest.raises(ValueError, match=message):
            native.attention_varlen(qkv, np.array(starts, np.int32), heads, 1.0)
    with pytest.raises(ValueError, match="cu_seqlens holds 'l', not int32"):
        native.attention_varlen(qkv, np.array([0, 4], np.int64), 1, 1.0)  # type: ignore[arg-type]

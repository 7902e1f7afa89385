from __future__ import annotations

import numpy as np
import pytest

from ownlm.native import select


@pytest.mark.parametrize("columns", [1, 3, 15, 64, 70, 50001])
def test_select_equals_numpy(isa: str, rng: np.random.Generator, columns: int) -> None:
    logits = rng.integers(-40, 40, (5, columns)).astype(np.float32) / 4  # with many equals
    assert np.array_equal(select.argmax(logits), logits.argmax(1))
    for k in {1, min(7, columns), columns}:
        ids, values = select.top_k(logits, k)
        assert np.array_equal(ids, np.argsort(-logits, axis=1, kind="stable")[:, :k])
        assert np.array_equal(values, np.take_along_axis(logits, ids, 1))
    expected = np.log(np.exp(0.7 * logits.astype(np.float64)).sum(1))
    assert np.allclose(select.log_sum_exp(logits, 0.7), expected, rtol=0, atol=2e-6)


def test_infinities_and_what_is_no_number(isa: str) -> None:
    logits = np.full((3, 40), -np.inf, np.float32)
    logits[0, 5], logits[1], logits[2, 7] = 3, np.nan, np.nan
    logits[2, 9] = 1
    ids, _ = select.top_k(logits, 2)
    assert ids[0].tolist() == [5, 0]
    assert ids[2, 0] == 9
    assert select.argmax(logits)[0] == 5
    assert (select.argmax(logits) < 40).all()
    assert select.log_sum_exp(logits[:1])[0] == pytest.approx(3)


def test_arguments_are_checked() -> None:
    logits = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="k is 5"):
        select.top_k(logits, 5)
    with pytest.raises(ValueError, match="float32"):
        select.argmax(logits.astype(np.float64))
    with pytest.raises(ValueError, match="no columns"):
        select.argmax(np.zeros((1, 0), np.float32))

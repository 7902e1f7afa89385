"""A head read by a 4-bit copy, its leading logits computed again from its own rows: beside the head as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import bfloat16, q4_0, q8_0
from ownlm.native import plan
from plan_support import Facts, batches

Array = NDArray[np.float32]
FORMATS = ("f32", "bf16", "q8_0")
D, T = 96, 13


@dataclass(frozen=True)
class Asking(Facts):
    """A batch that says which rows have to be exact."""

    exact: NDArray[np.uint8] | None = None


def stored(w: Array, format: str) -> NDArray[Any]:
    return {"f32": lambda: w, "bf16": lambda: bfloat16.from_float32(w), "q8_0": lambda: q8_0.quantize(w)}[format]()


def head_of(w: Array, format: str) -> plan.Head:
    rows = np.ascontiguousarray(stored(w, format)).view(np.uint8)
    copy, spread = native.coarse(rows, format, w.shape[1])
    return plan.Head(copy=copy, rows=rows, format=format, spread=spread)


def both(
    x: Array, w: Array, format: str, bias: Array | None = None, scale: float = 1.0, softcap: float = 0.0
) -> tuple[plan.Plan, plan.Plan]:
    """Plans of nothing but a head over rows of x: as it is, and rescored."""
    plans = plan.Plan(), plan.Plan()
    for p, rescored in zip(plans, (False, True), strict=True):
        register = p.embed([("ids", x, "f32")], x.shape[1])
        if rescored:
            p.rescored_logits(register, head_of(w, format), bias, scale, softcap)
        else:
            p.logits(register, native.pack([stored(w, format)], format), bias, scale, softcap)
    return plans


def batch(exact: list[int] | None = None) -> Asking:
    ((_, facts),) = batches([T], T)
    marks = None if exact is None else np.isin(np.arange(T), exact).astype(np.uint8)
    return Asking(**{name: getattr(facts, name) for name in Facts.__dataclass_fields__}, exact=marks)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((T, D)).astype(np.float32)


@pytest.mark.parametrize("columns", [7, 1000, 6003])
@pytest.mark.parametrize("format", FORMATS)
def test_leading_logits_have_the_head_s_own_bits(
    isa: str, rng: np.random.Generator, x: Array, format: str, columns: int
) -> None:
    w, bias = rng.standard_normal((columns, D)).astype(np.float32), rng.standard_normal(columns).astype(np.float32)
    exact, rescored = both(x, w, format, bias, -0.3)
    want, found = exact.run(batch()), rescored.run(batch())
    lead = np.argsort(-want, 1)[:, : min(16, columns)]
    assert np.array_equal(np.take_along_axis(found, lead, 1), np.take_along_axis(want, lead, 1))
    assert np.array_equal(found.argmax(1), want.argmax(1))
    same = (found == want).mean()
    assert same == 1 if columns <= 1000 else same < 0.9, "all of few columns, not all of many"
    assert np.abs(found - want).std() < 0.12 * want.std()


@pytest.mark.parametrize("format", FORMATS)
def test_rows_that_ask_for_it_are_exact_throughout(isa: str, rng: np.random.Generator, x: Array, format: str) -> None:
    w = rng.standard_normal((6003, D)).astype(np.float32)
    exact, rescored = both(x, w, format, softcap=5.0)
    want, cheap = exact.run(batch()), rescored.run(batch())
    for asking in ([0], [3, 4, 5, 12], list(range(T)), []):
        found = rescored.run(batch(asking))
        assert np.array_equal(found[asking], want[asking])
        others = [row for row in range(T) if row not in asking]
        assert np.array_equal(found[others], cheap[others])
    assert not np.array_equal(cheap, want)


def test_no_bit_depends_on_the_batch_or_the_threads(
    isa: str, threads: None, rng: np.random.Generator, x: Array
) -> None:
    _, rescored = both(x, rng.standard_normal((6003, D)).astype(np.float32), "q8_0")
    whole = rescored.run(batch([2]))
    for count in (1, 3):
        native.set_threads(count)
        assert np.array_equal(rescored.run(batch([2])), whole)
        for row in range(T):
            asking = replace(batch(), rows=np.array([row], np.int32), exact=np.array([row == 2], np.uint8))
            assert np.array_equal(rescored.run(asking)[0], whole[row])


def test_candidates_are_at_most_4096_and_the_largest(rng: np.random.Generator, x: Array) -> None:
    w = (rng.standard_normal((1, D)) + 0.02 * rng.standard_normal((9000, D))).astype(np.float32)  # all nearly alike
    exact, rescored = both(x, w, "f32")
    want, found = exact.run(batch()), rescored.run(batch())
    copy = plan.Plan()
    copy.logits(copy.embed([("ids", x, "f32")], D), head_of(w, "f32").copy)
    ranked = np.argsort(-copy.run(batch()), 1, kind="stable")[:, :4096]
    assert np.array_equal(np.take_along_axis(found, ranked, 1), np.take_along_axis(want, ranked, 1))
    assert (found == want).sum(1).max() < 4096 + 20  # a few of the others are right by chance


def test_equal_logits_and_what_is_no_number(x: Array) -> None:
    _, rescored = both(x, np.zeros((5000, D), np.float32), "q8_0")
    assert not rescored.run(batch()).any()
    x[4, 0] = np.nan
    _, rescored = both(x, np.ones((5000, D), np.float32), "f32")
    found = rescored.run(batch())
    assert np.isnan(found[4].max()) and np.isfinite(np.delete(found, 4, 0)).all()


@pytest.mark.parametrize("format", FORMATS)
def test_the_copy_is_near_and_its_error_is_told(threads: None, rng: np.random.Generator, format: str) -> None:
    w = (rng.standard_normal((1005, D)) * rng.uniform(0.1, 3, D)).astype(np.float32)
    head = head_of(w, format)
    near = native.linear(np.eye(D, dtype=np.float32) * 127, head.copy).T / 127  # its weights, one by one
    kept = native.linear(np.eye(D, dtype=np.float32) * 127, native.pack([stored(w, format)], format)).T / 127
    assert np.allclose(head.spread, np.sqrt(((near - kept) ** 2).mean(0)), rtol=1e-3)
    plain = q4_0.dequantize(q4_0.quantize(kept))
    assert ((near - kept) ** 2).mean() < 0.98 * ((plain - kept) ** 2).mean()
    native.set_threads(3)
    again = head_of(w, format)
    assert np.array_equal(again.spread, head.spread)
    some = np.ascontiguousarray(kept[:5])
    assert np.array_equal(native.linear(some, again.copy), native.linear(some, head.copy))


def test_scales_at_the_ends_of_what_fp16_holds(rng: np.random.Generator) -> None:
    w = rng.uniform(-1, 1, (40, 64)).astype(np.float32) * np.array([[1e-9], [1e-6], [1e-4], [1e5]] * 10, np.float32)
    x = rng.standard_normal((3, 64)).astype(np.float32)
    found, want = native.linear(x, head_of(w, "f32").copy), x @ w.T
    error = np.abs(found - want).max(0) / np.abs(w).max(1)
    assert (error[1::4] < 8).all() and (error[2::4] < 2).all()  # 1e-6: of the scale two bits are left
    assert np.isfinite(found).all()  # 1e5: as large as a scale can be


def test_arguments_are_checked(rng: np.random.Generator, x: Array) -> None:
    w = rng.standard_normal((50, D)).astype(np.float32)
    blocks = q8_0.quantize(w)
    with pytest.raises(ValueError, match="itself"):
        native.coarse(q4_0.quantize(w), "q4_0", D)
    with pytest.raises(ValueError, match="blocks of 32"):
        native.coarse(blocks, "q8_0", 40)
    with pytest.raises(ValueError, match="rows"):
        native.coarse(blocks, "q8_0", 64)
    head = head_of(w, "q8_0")
    p = plan.Plan()
    register = p.embed([("ids", x, "f32")], D)
    for wrong, message in (
        (replace(head, format="f16"), "f32, bf16 or q8_0"),
        (replace(head, copy=native.pack_q8_0(blocks)), "copy is q4_0"),
        (replace(head, rows=blocks[:-1]), "rows"),
        (replace(head, spread=head.spread[:-1]), "spread"),
    ):
        with pytest.raises(ValueError, match=message):
            p.rescored_logits(register, wrong)
    _, rescored = both(x, w, "q8_0")
    with pytest.raises(ValueError, match="exact"):
        rescored.run(replace(batch(), exact=np.zeros(T - 1, np.uint8)))

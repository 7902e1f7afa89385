"""Each operation of a plan against NumPy in float64: what attention leaves out (see test_plan_attention)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import erf

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import bfloat16, q4_0, q8_0
from ownlm.native import plan
from plan_support import Facts, batches, ints, rms_norm

D, V, T = 64, 48, 23
Array = NDArray[np.float32]


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.standard_normal((T, D)).astype(np.float32)


@pytest.fixture
def head(rng: np.random.Generator) -> Array:
    return rng.standard_normal((V, D)).astype(np.float32)


def batch(rows: list[int] | None = None, tokens: int = T) -> Facts:
    ((_, facts),) = batches([tokens], tokens)
    return facts if rows is None else replace(facts, rows=ints(rows))


def check(x: Array, head: Array, record: Callable[[plan.Plan, int], int], expected: NDArray[np.floating]) -> None:
    """``record`` maps a register of x to one of ``expected``; seen through ``head`` and by rows."""
    p = plan.Plan()
    p.logits(record(p, p.embed([("ids", x, "f32")], x.shape[1])), native.pack_f32(head))
    wanted = expected.astype(np.float64) @ head.T.astype(np.float64)
    whole = p.run(batch())
    assert np.abs(whole - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.array_equal(p.run(batch([7, 2, 22, 7])), whole[[7, 2, 22, 7]])
    assert p.run(batch([])).shape == (0, len(head))
    alone = np.concatenate([p.run(replace(batch([0], 1), ids=ints([t]))) for t in range(len(x))])
    assert np.array_equal(alone, whole)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_rms_norm(isa: str, x: Array, head: Array, offset: float) -> None:
    w = np.linspace(-1, 2, D).astype(np.float32)
    norm = plan.RMSNorm(w, 1e-3, offset)
    check(x, head, lambda p, r: p.norm(r, norm), rms_norm(x, w, 1e-3, offset))
    check(x, head, lambda p, r: p.norm(r, norm, residual=r), rms_norm(x, w, 1e-3, offset) + x)


def test_layer_norm(isa: str, x: Array, head: Array) -> None:
    w, b = np.linspace(-1, 2, D).astype(np.float32), np.linspace(1, 0, D).astype(np.float32)
    centred = x.astype(np.float64) - x.mean(1, keepdims=True, dtype=np.float64)
    expected = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * w + b
    check(x, head, lambda p, r: p.layer_norm(r, w, b, 1e-5), expected)
    check(x, head, lambda p, r: p.layer_norm(r, w, b, 1e-5, residual=r), expected + x)


def test_linear_with_all_its_parts(isa: str, x: Array, head: Array, rng: np.random.Generator) -> None:
    w, b = rng.standard_normal((D, D)).astype(np.float32), rng.standard_normal(D).astype(np.float32)
    y = x.astype(np.float64) @ w.T.astype(np.float64) + b
    packed = native.pack_f32(w)
    gelu = y * (1 + np.vectorize(erf)(y / 2**0.5)) / 2
    check(x, head, lambda p, r: p.linear(r, packed, b), y)
    check(x, head, lambda p, r: p.linear(r, packed, b, activation="gelu"), gelu)
    check(x, head, lambda p, r: p.linear(r, packed, b, activation="relu2"), np.maximum(y, 0) ** 2)
    check(x, head, lambda p, r: p.linear(r, packed, b, residual=r, residual_scale=0.22), 0.22 * y + x)

    def kept(p: plan.Plan, r: int) -> int:  # x is read after a linear that adds it: its register must not be taken over
        return p.linear(r, packed, b, residual=p.linear(r, packed, b, residual=r))

    check(x, head, kept, 2 * y + x)


def gates(kind: str, gate: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind == "silu":
        return gate / (1 + np.exp(-gate)) * up
    if kind == "gelu":
        return gate * (1 + np.vectorize(erf)(gate / 2**0.5)) / 2 * up
    if kind == "gelu_tanh":
        return gate / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3))) * up
    gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
    return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)


KINDS = ("silu", "gelu", "gelu_tanh", "swiglu_oai")


@pytest.mark.parametrize("kind", KINDS)
def test_glu_linear(isa: str, x: Array, rng: np.random.Generator, kind: str) -> None:
    gate, up = (rng.standard_normal((40, D)).astype(np.float32) for _ in range(2))
    bias = rng.standard_normal(80).astype(np.float32)
    head = rng.standard_normal((V, 40)).astype(np.float32)
    wide = x.astype(np.float64)
    expected = gates(kind, wide @ gate.T + bias[:40], wide @ up.T + bias[40:])
    packed = native.pack_glu(gate, up, "f32")
    check(x, head, lambda p, r: p.glu_linear(r, packed, kind, bias), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("of_chosen", "normalize"), [(True, False), (False, True), (False, False)])
def test_mixture_of_experts(
    isa: str, x: Array, head: Array, rng: np.random.Generator, kind: str, of_chosen: bool, normalize: bool
) -> None:
    experts, chosen, inner = 5, 2, 24
    normal = rng.standard_normal
    router, router_bias = normal((experts, D)).astype(np.float32) / 8, normal(experts).astype(np.float32)
    gate, up, down = (normal(s).astype(np.float32) / 8 for s in ((experts, inner, D),) * 2 + ((experts, D, inner),))
    gate_up_bias, down_bias = normal((experts, 2 * inner)).astype(np.float32), normal((experts, D)).astype(np.float32)
    wide = x.astype(np.float64)
    scores = wide @ router.T + router_bias
    order = np.argsort(-scores, 1, kind="stable")[:, :chosen]
    weights = np.exp(scores)
    if of_chosen or normalize:
        weights /= np.take_along_axis(weights, order, 1).sum(1, keepdims=True)
    else:
        weights /= weights.sum(1, keepdims=True)
    expected = wide.copy()
    for t in range(T):
        for e in order[t]:
            y = gates(kind, gate[e] @ wide[t] + gate_up_bias[e, :inner], up[e] @ wide[t] + gate_up_bias[e, inner:])
            expected[t] += 0.5 * weights[t, e] * (down[e] @ y + down_bias[e])
    mixture = plan.Experts(
        router=native.pack_f32(router), router_bias=router_bias, chosen=chosen, activation=kind, residual_scale=0.5,
        gate_up=[native.pack_glu(g, u, "f32") for g, u in zip(gate, up, strict=True)], gate_up_bias=gate_up_bias,
        down=[native.pack_f32(d) for d in down], down_bias=down_bias, softmax_of_chosen=of_chosen, normalize=normalize,
    )  # fmt: skip
    check(x, head, lambda p, r: p.moe(r, mixture, residual=r), expected)


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_tables(isa: str, rng: np.random.Generator, head: Array, name: str) -> None:
    table = rng.standard_normal((70, D)).astype(np.float32)
    half = table.astype(np.float16)
    stored, values = {
        "f32": lambda: (table, table),
        "f16": lambda: (half.view(np.uint8), half.astype(np.float32)),
        "bf16": lambda: (
            bfloat16.from_float32(table).view(np.uint8),
            bfloat16.to_float32(bfloat16.from_float32(table)),
        ),
        "q8_0": lambda: (q8_0.quantize(table), q8_0.dequantize(q8_0.quantize(table))),
        "q4_0": lambda: (q4_0.quantize(table), q4_0.dequantize(q4_0.quantize(table))),
    }[name]()
    positions = rng.standard_normal((T, D)).astype(np.float32)
    p = plan.Plan()
    looked_up = p.embed([("ids", stored, name), ("positions", positions, "f32")], D, scale=3.0)
    p.logits(looked_up, native.pack_f32(head))
    facts = replace(batch(), ids=rng.integers(0, 70, T).astype(np.int32))
    expected = 3.0 * (values[facts.ids].astype(np.float64) + positions) @ head.T.astype(np.float64)
    assert np.abs(p.run(facts) - expected).max() < 1e-5 * np.abs(expected).max()
    with pytest.raises(ValueError, match="ids"):
        p.run(replace(facts, ids=ints([70] * T)))
    with pytest.raises(ValueError, match="positions"):
        p.run(replace(facts, positions=ints([T] * T)))


def test_logits_are_scaled_then_capped(isa: str, x: Array, head: Array) -> None:
    bias = np.linspace(-1, 1, V).astype(np.float32)
    p = plan.Plan()
    p.logits(p.embed([("ids", x, "f32")], D), native.pack_f32(head), bias, scale=0.25, softcap=3.0)
    expected = 3 * np.tanh(0.25 * (x.astype(np.float64) @ head.T.astype(np.float64) + bias) / 3)
    assert np.abs(p.run(batch()) - expected).max() < 1e-5


@pytest.mark.parametrize("name", ["f32", "bf16", "q8_0", "q4_0"])
def test_only_wanted_rows_are_computed_and_the_same(isa: str, rng: np.random.Generator, name: str) -> None:
    """Layers of any format: asking for fewer rows, or more threads, changes no bit of those asked for."""
    w = [(rng.standard_normal((D, D)) / 8).astype(np.float32) for _ in range(4)]
    stored = {"f32": lambda m: m, "bf16": bfloat16.from_float32, "q8_0": q8_0.quantize, "q4_0": q4_0.quantize}[name]
    packed = [native.pack([stored(m)], name) for m in w]
    table = rng.standard_normal((T, D)).astype(np.float32)
    p = plan.Plan()
    x = p.embed([("ids", table, "f32")], D)
    for a, b in pairwise(packed):
        x = p.linear(p.linear(x, a, activation="gelu"), b, residual=x)
    p.logits(x, packed[0])
    whole = p.run(batch())
    assert np.isfinite(whole).all()
    assert np.array_equal(p.run(batch([3])), whole[[3]])
    assert np.array_equal(p.run(batch([22, 0, 5])), whole[[22, 0, 5]])


def test_registers_are_shared_and_the_time_of_steps_is_told(x: Array, head: Array) -> None:
    w = native.pack_f32(np.eye(D, dtype=np.float32))
    p = plan.Plan()
    r = p.embed([("ids", x, "f32")], D)
    for _ in range(50):
        r = p.linear(r, w)
    p.logits(r, native.pack_f32(head))
    assert p.arena_bytes(1, 1) <= 3 * D * 4
    p.measure()
    assert np.allclose(p.run(batch()), x @ head.T, atol=1e-4)
    seconds = p.seconds()
    assert len(seconds) == p.steps
    assert all(s >= 0 for _, s in seconds)
    assert sum(s for _, s in seconds) > 0
    with pytest.raises(ValueError, match="closed"):
        p.linear(r, w)


def test_misuse_is_refused(x: Array, head: Array) -> None:
    p = plan.Plan()
    with pytest.raises(ValueError, match="no logits"):
        p.run(batch(), np.zeros((T, V), np.float32))
    r = p.embed([("ids", x, "f32")], D)
    with pytest.raises(ValueError, match="not 32"):
        p.linear(r, native.pack_f32(np.zeros((8, 32), np.float32)))
    with pytest.raises(ValueError, match="not a value"):
        p.norm(99, plan.RMSNorm(np.ones(D, np.float32), 1e-6))
    with pytest.raises(ValueError, match="pack_glu"):
        p.glu_linear(r, native.pack_f32(np.zeros((8, D), np.float32)), "silu")
    with pytest.raises(ValueError, match="table"):
        p.embed([("ids", x, "q5_k")], D)
    with pytest.raises(ValueError, match="block_size"):
        plan.kv_cache(1, 1, 24, 1, 16)
    cache = plan.kv_cache(1, 1, 16, 2, 16)
    with pytest.raises(ValueError, match="fit the cache"):
        p.qkv_rope(
            r,
            native.pack_f32(np.zeros((128, D), np.float32)),
            plan.Attention(heads=4, kv_heads=2, head_dim=16, scale=1, layer=1, cache=cache),
        )

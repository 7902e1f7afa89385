"""Cached attention against NumPy, and the promise that no bit depends on how the work was cut."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from linear_support import store
from ownlm import native
from ownlm.native import plan
from plan_support import attend, batches, ints, rms_norm, rotate

KV, EPS = 2, 1e-6
LENGTHS = [300, 1, 7, 550]


class Layer:
    """One layer over a table of hidden states, with its result in float64."""

    def __init__(self, rng: np.random.Generator, lengths: list[int], *, heads: int = 4, dim: int = 16, rotary: int = 12,
                 norms: str = "", values: str = "", **spec: object) -> None:  # fmt: skip
        self.lengths, self.heads, self.dim, self.norms, self.spec = lengths, heads, dim, norms, dict(spec)
        width = 32
        normal = rng.standard_normal
        self.x = normal((sum(lengths), width)).astype(np.float32)
        gates = KV if values else 0
        self.w = (normal(((heads + 2 * KV) * dim + gates, width)) * 0.3).astype(np.float32)
        self.bias = normal(len(self.w)).astype(np.float32) * np.float32(0.1)
        self.head = normal((40, heads * dim)).astype(np.float32)
        self.frequencies = (10000.0 ** -(np.arange(rotary // 2) / max(1, rotary // 2))).astype(np.float32)
        q, k = (dim, dim) if norms == "head" else (heads * dim, KV * dim)
        table = normal((len(self.x), KV * dim)).astype(np.float32)
        stored, self.rows = store(table, values or "f32")
        self.values = (stored.view(np.uint8) if values == "bf16" else stored, values) if values else None
        self.q_norm, self.k_norm = (1 + normal(n).astype(np.float32) / 10 for n in (q, k))

    def expected(self) -> NDArray[np.float64]:
        out = []
        for start, length in zip(np.cumsum([0, *self.lengths]), self.lengths, strict=False):
            x = self.x[start : start + length].astype(np.float64) @ self.w.T.astype(np.float64) + self.bias
            ends = np.cumsum([self.heads, KV, KV]) * self.dim
            q, k, v, gates = np.split(x, ends, axis=1)
            if self.norms == "row":
                q, k = rms_norm(q, self.q_norm, EPS), rms_norm(k, self.k_norm, EPS)
            q, k, v = (part.reshape(length, -1, self.dim) for part in (q, k, v))
            if self.norms == "head":
                q, k = rms_norm(q, self.q_norm, EPS), rms_norm(k, self.k_norm, EPS)
            if self.values is not None:
                v = v + 2 / (1 + np.exp(-gates[:, :, None])) * self.rows[start : start + length].reshape(v.shape)
            angles = np.arange(length)[:, None] * self.frequencies.astype(np.float64)
            out.append(attend(rotate(q, angles), rotate(k, angles), v, **self.spec))
        return np.concatenate(out) @ self.head.T.astype(np.float64)

    def run(self, cut: int, *, format_: plan.CacheFormat = "f32", block_size: int = 16) -> NDArray[np.float32]:
        blocks = sum(-(-length // block_size) for length in self.lengths)
        spec = plan.Attention(
            heads=self.heads, kv_heads=KV, head_dim=self.dim, scale=self.dim**-0.5, layer=0,
            cache=plan.kv_cache(1, blocks, block_size, KV, self.dim, format_),
            inverse_frequencies=self.frequencies,
            q_norm=plan.RMSNorm(self.q_norm, EPS) if self.norms else None,
            k_norm=plan.RMSNorm(self.k_norm, EPS) if self.norms else None,
            whole_row_norm=self.norms == "row", value_table=self.values, **self.spec,
        )  # fmt: skip
        p = plan.Plan()
        x = p.embed([("ids", self.x, "f32")], self.x.shape[1])
        p.logits(
            p.cached_attention(p.qkv_rope(x, native.pack_f32(self.w), spec, self.bias), spec),
            native.pack_f32(self.head),
        )
        out = np.full((len(self.x), len(self.head)), np.nan, np.float32)
        for where, batch in batches(self.lengths, cut, block_size):
            out[where] = p.run(batch)
        return out


SPECS: dict[str, dict[str, object]] = {
    "plain": {},
    "window": {"window": 37},
    "window wider than a chunk": {"window": 300},
    "softcap": {"softcap": 5.0},
    "softcap and window": {"softcap": 5.0, "window": 65},
    "sinks": {"sinks": np.linspace(-2, 4, 4, dtype=np.float32)},
    "norm by head": {"norms": "head"},
    "norm over the row": {"norms": "row"},
    "seven heads a group": {"heads": 14},
    "odd widths": {"heads": 2, "dim": 20, "rotary": 20},
    "no rotation": {"rotary": 0},
    "value embeddings": {"values": "f32", "norms": "head"},
    "value embeddings in bfloat16": {"values": "bf16"},
    "value embeddings in eight bits": {"values": "q8_0"},
    "value embeddings in four bits": {"values": "q4_0", "window": 37},
}


COARSE: dict[plan.CacheFormat, float] = {"int8": 0.02, "int4": 0.25}
"""Errors allowed, as shares of what is there: of random keys in few dimensions, whose scores are large."""


@pytest.mark.parametrize("name", SPECS)
def test_attention_equals_numpy(isa: str, rng: np.random.Generator, name: str) -> None:
    layer = Layer(rng, LENGTHS, **SPECS[name])
    expected = layer.expected()
    got = layer.run(1000)
    assert np.abs(got - expected).max() < 5e-6 * np.abs(expected).max()
    rough = layer.run(1000, format_="bf16")
    assert np.abs(rough - expected).max() < 1e-2 * np.abs(expected).max()
    for format_, within in COARSE.items():
        error = np.sqrt(np.square(layer.run(1000, format_=format_) - expected).mean() / np.square(expected).mean())
        assert within / 5 < error < within, format_


@pytest.mark.parametrize("format_", get_args(plan.CacheFormat))
@pytest.mark.parametrize("name", ["window wider than a chunk", "softcap", "seven heads a group", "value embeddings"])
def test_no_bit_depends_on_the_cut(
    isa: str, rng: np.random.Generator, threads: None, name: str, format_: plan.CacheFormat
) -> None:
    layer = Layer(rng, LENGTHS, **SPECS[name])
    whole = layer.run(1000, format_=format_)
    assert np.array_equal(layer.run(64, format_=format_), whole)
    assert np.array_equal(layer.run(13, format_=format_, block_size=64), whole)
    native.set_threads(1)
    assert np.array_equal(layer.run(200, format_=format_), whole)


@pytest.mark.parametrize("format_", ["bf16", "int8", "int4"])
def test_token_by_token(isa: str, rng: np.random.Generator, format_: plan.CacheFormat) -> None:
    layer = Layer(rng, [40, 3], window=17)
    assert np.array_equal(layer.run(1, format_=format_), layer.run(64, format_=format_))


@pytest.mark.parametrize("format_", get_args(plan.CacheFormat))
def test_what_stood_in_a_block_before_does_not_matter(rng: np.random.Generator, format_: plan.CacheFormat) -> None:
    layer = Layer(rng, [20])
    cache = plan.kv_cache(1, 2, 16, KV, 16, format_)
    spec = plan.Attention(heads=4, kv_heads=KV, head_dim=16, scale=0.25, layer=0, cache=cache)
    p = plan.Plan()
    x = p.embed([("ids", np.stack([layer.x[0], np.full(32, np.nan, np.float32)]), "f32")], 32)
    p.logits(p.cached_attention(p.qkv_rope(x, native.pack_f32(layer.w), spec), spec), native.pack_f32(layer.head))
    ((_, full),) = batches([32], 32)
    assert np.isnan(p.run(replace(full, ids=np.ones(32, np.int32)))).all()
    for cut in (5, 1):
        for _, batch in batches([20], cut):
            clean = replace(batch, ids=np.zeros_like(batch.ids))
            assert np.isfinite(p.run(clean)).all()


def test_copied_blocks_hold_the_same(rng: np.random.Generator) -> None:
    layer = Layer(rng, [16])
    cache = plan.kv_cache(1, 3, 16, KV, 16)
    spec = plan.Attention(heads=4, kv_heads=KV, head_dim=16, scale=0.25, layer=0, cache=cache)
    p = plan.Plan()
    x = p.embed([("ids", layer.x, "f32")], 32)
    p.logits(p.cached_attention(p.qkv_rope(x, native.pack_f32(layer.w), spec), spec), native.pack_f32(layer.head))
    results = []
    ((_, batch),) = batches([16], 16)
    p.run(replace(batch, block_tables=ints([[0]]), slots=np.arange(16, dtype=np.int32)))
    cache.copy_blocks(ints([[0, 2]]))
    last = replace(batch, ids=batch.ids[-1:], positions=batch.positions[-1:], cu_seqlens=ints([0, 1]), rows=ints([0]))
    for block in (0, 2):
        results.append(p.run(replace(last, block_tables=ints([[block]]), slots=ints([block * 16 + 15]))))
    assert np.array_equal(*results)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ids", [99], "ids"),
        ("positions", [[0]], "shape"),
        ("rows", [1], "rows"),
        ("slots", [16], "slots"),
        ("slots", [-1], "slots"),
        ("block_tables", [[1]], "block_tables"),
        ("lengths", [0], "lengths"),
        ("lengths", [17], "lengths"),
        ("cu_seqlens", [0, 2], "cu_seqlens"),
    ],
)
def test_a_batch_outside_its_bounds_is_refused(
    rng: np.random.Generator, field: str, value: object, message: str
) -> None:
    layer = Layer(rng, [1])
    spec = plan.Attention(heads=4, kv_heads=KV, head_dim=16, scale=0.25, layer=0, cache=plan.kv_cache(1, 1, 16, KV, 16))
    p = plan.Plan()
    x = p.embed([("ids", layer.x, "f32")], 32)
    p.logits(p.cached_attention(p.qkv_rope(x, native.pack_f32(layer.w), spec), spec), native.pack_f32(layer.head))
    ((_, batch),) = batches([1], 1)
    p.run(batch)
    with pytest.raises(ValueError, match=message):
        p.run(replace(batch, **{field: ints(value)}))


@pytest.mark.parametrize(
    ("table", "format_", "message"),
    [
        (np.zeros((5, 16), np.float32), "f32", "table"),
        (np.zeros((5, 64), np.uint8), "q5_0", "q5_0"),
        (np.zeros((5, 33), np.uint8), "q8_0", "table"),
        (np.zeros((5, 32), np.float32), "f32", "outputs"),  # the projection has no rows for gates
    ],
)
def test_a_table_of_values_that_does_not_fit_is_refused(
    rng: np.random.Generator, table: NDArray[np.generic], format_: str, message: str
) -> None:
    layer = Layer(rng, [1])
    spec = plan.Attention(
        heads=4, kv_heads=KV, head_dim=16, scale=0.25, layer=0, cache=plan.kv_cache(1, 1, 16, KV, 16),
        value_table=(table, format_),
    )  # fmt: skip
    p = plan.Plan()
    with pytest.raises(ValueError, match=message):
        p.qkv_rope(p.embed([("ids", layer.x, "f32")], 32), native.pack_f32(layer.w), spec)


def test_an_id_beyond_the_table_of_values_is_refused(rng: np.random.Generator) -> None:
    layer = Layer(rng, [4], values="f32")
    assert layer.values is not None
    layer.values = (np.ascontiguousarray(layer.values[0][:3]), "f32")
    with pytest.raises(ValueError, match=r"ids\[3\] is 3"):
        layer.run(1000)


def test_blocks_leave_and_come_back(rng: np.random.Generator) -> None:
    cache, other = (plan.kv_cache(3, 5, 32, KV, 16) for _ in range(2))
    assert cache.nbytes == 5 * cache.block_bytes == 5 * 3 * 32 * KV * 2 * 16 * 2
    data = rng.integers(0, 256, (2, cache.block_bytes), np.uint8)
    data.flags.writeable = False
    cache.write_blocks(ints([4, 1]), data)
    assert np.array_equal(cache.read_blocks(ints([1, 4, 1])), data[[1, 0, 1]])
    assert not cache.read_blocks(ints([0, 2, 3])).any()
    other.write_blocks(ints([0]), cache.read_blocks(ints([4])))
    other.copy_blocks(ints([[0, 2]]))
    assert np.array_equal(other.read_blocks(ints([2])), data[:1])
    assert cache.read_blocks(ints([])).shape == (0, cache.block_bytes)
    with pytest.raises(ValueError, match="block 5 is outside"):
        cache.read_blocks(ints([5]))
    with pytest.raises(ValueError, match="shape"):
        cache.write_blocks(ints([1]), data)
    with pytest.raises(ValueError, match='"fp8"'):
        plan.kv_cache(1, 1, 16, 1, 16, "fp8")  # type: ignore[arg-type]

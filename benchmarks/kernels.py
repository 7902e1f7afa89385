"""Speed of every kernel with every instruction set.

    python benchmarks/kernels.py [--isa avx2] [--threads 1] [--seconds 0.3]

GOP/s counts a multiplication and an addition as two operations; GB/s counts the bytes that have to be read and written.
The shapes are those of all-MiniLM-L6-v2 over 6 paragraphs of 175 tokens, then those of a decoder: a matrix of 8192 by
2048 in every format over 1 to 512 rows (weights come from memory, not from cache), and attention over a paged cache.
A figure is the median of repeated calls.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import bfloat16, q4_0, q8_0
from ownlm.native import plan

SEQUENCES, LENGTH = 6, 175
HIDDEN, INNER, HEADS, LAYERS = 384, 1536, 12, 6
TOKENS = SEQUENCES * LENGTH


def measure(call: Callable[[], object], seconds: float) -> float:
    """Median seconds a call, over at least 5 calls and ``seconds``."""
    call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cases(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], object], float, float, int]]:
    """(name, call, operations, bytes, how often an encoder forward makes the call)"""

    def floats(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    for name, rows, outputs, inputs, activation, count in [
        ("query, key, value", TOKENS, 3 * HIDDEN, HIDDEN, "", LAYERS),
        ("attention output", TOKENS, HIDDEN, HIDDEN, "", LAYERS),
        ("up, GELU", TOKENS, INNER, HIDDEN, "gelu", LAYERS),
        ("down", TOKENS, HIDDEN, INNER, "", LAYERS),
        ("one row", 1, INNER, HIDDEN, "", 0),
        ("one long row", 1, 8192, 8192, "", 0),
    ]:
        x, w, out = floats(rows, inputs), floats(outputs, inputs), np.empty((rows, outputs), np.float32)
        bias = floats(outputs)
        residual = None if outputs != HIDDEN else floats(rows, outputs)
        for packed in (native.pack_q8_0(q8_0.quantize(w)), native.pack_f32(w)):
            yield (
                f"linear {packed.format}: {name} {rows} x {outputs} x {inputs}",
                lambda x=x, p=packed, b=bias, r=residual, a=activation, o=out: native.linear(x, p, b, r, a, o),
                2 * rows * outputs * inputs,
                packed.nbytes + 4 * rows * (inputs + outputs),
                count if packed.format == "q8_0" else 0,
            )
    starts = np.arange(0, TOKENS + 1, LENGTH, dtype=np.int32)
    qkv, hidden, out = floats(TOKENS, 3 * HIDDEN), floats(TOKENS, HIDDEN), np.empty((TOKENS, HIDDEN), np.float32)
    scale = (HIDDEN // HEADS) ** -0.5
    yield (
        f"attention {SEQUENCES} x {LENGTH}, {HEADS} heads of {HIDDEN // HEADS}",
        lambda: native.attention_varlen(qkv, starts, HEADS, scale, out),
        4 * SEQUENCES * LENGTH**2 * HIDDEN,
        qkv.nbytes + out.nbytes,
        LAYERS,
    )
    weight, bias = floats(HIDDEN), floats(HIDDEN)
    yield (
        f"layer norm {TOKENS} x {HIDDEN}",
        lambda: native.layer_norm(hidden, weight, bias, 1e-12, None, out),
        8 * hidden.size,
        2 * hidden.nbytes,
        2 * LAYERS + 1,
    )
    tables = [q8_0.quantize(floats(30522, HIDDEN)), floats(512, HIDDEN), floats(2, HIDDEN)]
    ids = [rng.integers(0, len(table), TOKENS).astype(np.int32) for table in tables]
    yield "embed, 3 tables", lambda: native.embed_sum(ids, tables, out), 3 * out.size, 3.3 * out.nbytes, 1
    pooled = np.empty((SEQUENCES, HIDDEN), np.float32)
    yield "mean pool", lambda: native.mean_pool(hidden, starts, True, pooled), hidden.size, hidden.nbytes, 1
    vectors = rng.integers(-127, 128, (100_000, HIDDEN), dtype=np.int8)
    scores = np.empty(len(vectors), np.int32)
    yield (
        "dot_i8, 100,000 vectors of 384",
        lambda: native.dot_i8(vectors, vectors[0], scores),
        2 * vectors.size,
        vectors.nbytes,
        0,
    )


def decoder_cases(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], object], float, float, int]]:
    """As ``cases``, of a decoder."""
    rows, columns = 8192, 2048
    w = rng.standard_normal((rows, columns), dtype=np.float32)
    stored = {"f32": lambda: w, "bf16": lambda: bfloat16.from_float32(w), "q8_0": lambda: q8_0.quantize(w),
              "q4_0": lambda: q4_0.quantize(w)}  # fmt: skip
    for name, make in stored.items():
        values = make()
        copies = [native.pack([values], name) for _ in range(max(1, -(-(96 << 20) // values.nbytes)))]
        for tokens in (1, 2, 4, 8, 9, 12, 16, 24, 32, 48, 64, 512):
            x, out = rng.standard_normal((tokens, columns), dtype=np.float32), np.empty((tokens, rows), np.float32)
            turn = itertools.cycle(copies)
            yield (
                f"linear {name}: {tokens} x {rows} x {columns}",
                lambda x=x, turn=turn, out=out: native.linear(x, next(turn), out=out),
                2 * tokens * rows * columns,
                copies[0].nbytes + 4 * tokens * (rows + columns),
                0,
            )
    for tokens, past, heads, kv_heads in ((1, 512, 32, 8), (1, 4096, 32, 8), (512, 0, 32, 8), (2048, 0, 32, 8)):
        run, operations, size = attention(rng, tokens, past, heads, kv_heads)
        yield f"cached attention: {tokens} after {past}, {heads} heads over {kv_heads} of 64", run, operations, size, 0


def attention(
    rng: np.random.Generator, tokens: int, past: int, heads: int, kv_heads: int, layers: int = 8
) -> tuple[Callable[[], object], float, float]:
    """A plan of nothing but attention layers with 64 wide heads; figures of all its layers."""
    blocks = -(-(tokens + past) // 16)
    cache = plan.kv_cache(layers, blocks, 16, kv_heads, 64)
    w = native.pack_f32(rng.standard_normal(((heads + 2 * kv_heads) * 64, 16), dtype=np.float32))
    p = plan.Plan()
    x = p.embed([("ids", rng.standard_normal((16, 16), dtype=np.float32), "f32")], 16)
    back = native.pack_f32(np.zeros((16, heads * 64), np.float32))
    for layer in range(layers):
        spec = plan.Attention(heads=heads, kv_heads=kv_heads, head_dim=64, scale=0.125, layer=layer, cache=cache)
        x = p.linear(p.cached_attention(p.qkv_rope(x, w, spec), spec), back, residual=x)
    p.logits(x, native.pack_f32(np.zeros((16, 16), np.float32)))
    at = np.arange(past, past + tokens, dtype=np.int32)
    batch = SimpleNamespace(
        ids=at % 16, positions=at, cu_seqlens=np.array([0, tokens], np.int32), rows=np.zeros(1, np.int32), slots=at,
        lengths=np.array([past + tokens], np.int32), block_tables=np.arange(blocks, dtype=np.int32)[None],
    )  # fmt: skip
    pairs = tokens * (past + (tokens + 1) / 2)
    return lambda: p.run(batch), layers * pairs * heads * 64 * 4, layers * (past + tokens) * kv_heads * 64 * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=native.isas(), action="append", help="only this one; may be repeated")
    parser.add_argument("--threads", type=int, default=native.threads())
    parser.add_argument("--only", choices=("encoder", "decoder"), help="one of the two")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long each kernel is measured")
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    for name in arguments.isa or reversed(native.isas()):
        native.use_isa(name)
        print(f"\n{name}, {native.threads()} threads{'ms':>42} {'GOP/s':>8} {'GB/s':>7}")
        forward = 0.0
        chosen = itertools.chain(
            cases(np.random.default_rng(0)) if arguments.only != "decoder" else (),
            decoder_cases(np.random.default_rng(0)) if arguments.only != "encoder" else (),
        )
        for label, call, operations, size, count in chosen:
            seconds = measure(call, arguments.seconds)
            forward += seconds * count
            print(
                f"{label:58} {seconds * 1e3:8.3f} {operations / seconds / 1e9:8.1f} {size / seconds / 1e9:7.1f}",
                flush=True,
            )
        if forward:
            rate = SEQUENCES / forward
            print(f"{'kernels of a whole encoder forward':58} {forward * 1e3:8.2f}   {rate:.0f} paragraphs/s")


if __name__ == "__main__":
    main()

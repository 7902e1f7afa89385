"""Attention alone, by format of the cache: decode at a depth in GB/s of keys and values, prefill in GOP/s.

    python benchmarks/attention.py [--shape llama-3.2-1b] [--format bf16] [--depth 512] [--prompt 4096] [--threads 2]

A plan with all layers of a shape but narrow weights; times are the steps' own (``plan.seconds``), medians over rounds.
Decode reads each key and value once a token, so its bound is the machine's memory; a prompt's attention multiplies
2 * 2 * heads * head_dim numbers for each pair of a token and one that it sees. "store" is rotation and writing.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.native import plan

WIDTH, BLOCK, CHUNK = 32, 16, 512


@dataclass(frozen=True)
class Shape:
    """Of a model's attention."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int


SHAPES = {
    "qwen2.5-0.5b": Shape(24, 14, 2, 64),
    "llama-3.2-1b": Shape(16, 32, 8, 64),
    "llama-2-7b": Shape(32, 32, 32, 128),
}


@dataclass(frozen=True)
class Batch:
    """See ``plan.BatchFacts``: one sequence."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    block_tables: NDArray[np.int32]
    slots: NDArray[np.int32]
    rows: NDArray[np.int32]


class Model:
    """A forward that is little else than attention."""

    def __init__(self, shape: Shape, tokens: int, format_: plan.CacheFormat) -> None:
        rng = np.random.default_rng(0)
        self.shape, self.blocks = shape, -(-tokens // BLOCK)
        self.cache = plan.kv_cache(shape.layers, self.blocks, BLOCK, shape.kv_heads, shape.head_dim, format_)
        self.plan = plan.Plan()
        table = rng.standard_normal((997, WIDTH)).astype(np.float32)
        heads = shape.heads + 2 * shape.kv_heads
        frequencies = (10000.0 ** -(np.arange(shape.head_dim // 2) / (shape.head_dim // 2))).astype(np.float32)
        x = self.plan.embed([("ids", table, "f32")], WIDTH)
        for layer in range(shape.layers):
            spec = plan.Attention(
                heads=shape.heads, kv_heads=shape.kv_heads, head_dim=shape.head_dim, scale=shape.head_dim**-0.5,
                layer=layer, cache=self.cache, inverse_frequencies=frequencies,
            )  # fmt: skip
            qkv = rng.standard_normal((heads * shape.head_dim, WIDTH)).astype(np.float32)
            out = rng.standard_normal((WIDTH, shape.heads * shape.head_dim)).astype(np.float32) / 100
            q = self.plan.qkv_rope(x, native.pack_f32(qkv / WIDTH**0.5), spec)
            x = self.plan.linear(self.plan.cached_attention(q, spec), native.pack_f32(out), residual=x)
        self.plan.logits(x, native.pack_f32(table[:16]))

    def step(self, start: int, count: int) -> dict[str, float]:
        """Seconds by step of ``count`` tokens from position ``start``."""
        places = np.arange(start, start + count, dtype=np.int32)
        batch = Batch(
            places * 31 % 997, places, np.array([0, count], np.int32), np.array([start + count], np.int32),
            np.arange(self.blocks, dtype=np.int32)[None], places, np.array([count - 1], np.int32),
        )  # fmt: skip
        self.plan.measure()
        self.plan.run(batch)
        found: dict[str, float] = {}
        for name, seconds in self.plan.seconds():
            found[name] = found.get(name, 0.0) + seconds
        return {"attention": found["attention"] + found["attention merge"], "store": found["rope"]}

    def fill(self) -> None:
        """Keys and values everywhere: those of the first tokens again and again."""
        some = min(16, self.blocks)
        self.step(0, some * BLOCK)
        known = self.cache.read_blocks(np.arange(some, dtype=np.int32))
        ids = np.arange(self.blocks, dtype=np.int32)
        self.cache.write_blocks(ids, known[ids % some])


def decode(shape: Shape, format_: plan.CacheFormat, depth: int, rounds: int) -> str:
    """One line."""
    model = Model(shape, depth + BLOCK, format_)
    model.fill()
    model.step(depth, 1)
    times = [model.step(depth, 1)["attention"] for _ in range(rounds)]
    read = model.cache.block_bytes * depth / BLOCK
    best = statistics.median(times)
    return (
        f"decode  {format_:6} depth {depth:6} {1e3 * best:8.2f} ms {read / best / 1e9:6.1f} GB/s ({read / 1e6:.0f} MB)"
    )


def prefill(shape: Shape, format_: plan.CacheFormat, prompt: int, rounds: int) -> str:
    """One line."""
    model = Model(shape, prompt, format_)
    model.step(0, min(CHUNK, prompt))
    runs = []
    for _ in range(rounds):
        parts = [model.step(start, min(CHUNK, prompt - start)) for start in range(0, prompt, CHUNK)]
        runs.append([sum(part[name] for part in parts) for name in ("attention", "store")])
    best, store = (statistics.median(column) for column in zip(*runs, strict=True))
    pairs = prompt * (prompt + 1) / 2
    work = shape.layers * 4 * shape.heads * shape.head_dim * pairs
    return f"prefill {format_:6} prompt {prompt:5} {best:8.3f} s {work / best / 1e9:7.0f} GOP/s, store {store:.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    formats = get_args(plan.CacheFormat)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.2-1b")
    parser.add_argument("--format", choices=formats, action="append", help="only this one; may be repeated")
    parser.add_argument("--depth", type=int, action="append", help="of decode; may be repeated (512 and 8192)")
    parser.add_argument("--prompt", type=int, action="append", help="may be repeated (512 and 4096); 0: none")
    parser.add_argument("--threads", type=int, default=native.threads())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    print(f"{arguments.shape}, {arguments.threads} threads, {native.isa()}")
    for format_ in arguments.format or formats:
        for depth in arguments.depth or (512, 8192):
            print(decode(SHAPES[arguments.shape], format_, depth, arguments.rounds), flush=True)
        for prompt in arguments.prompt or (512, 4096):
            if prompt:
                print(prefill(SHAPES[arguments.shape], format_, prompt, max(1, arguments.rounds // 3)), flush=True)


if __name__ == "__main__":
    main()

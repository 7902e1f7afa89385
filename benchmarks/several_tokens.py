"""What a step of several tokens costs beside a step of one: drafts that are verified, and streams side by side.

    python benchmarks/several_tokens.py MODEL.gguf [MODEL.gguf ...] [--depth 512] [--head rescored]

"verify" computes the next tokens of one text with the logits of all of them, "streams" one token each of several texts;
each behind ``--depth`` tokens. A figure is the median of repeated steps, steps of one token taken in turn with them;
GOP/s counts a multiplication and an addition of every weight that a token meets, the head's included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from ownlm import native
from ownlm.model import checkpoint
from ownlm.model.batch import Batch
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.opened import OpenDecoder
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import GluWeight, Leaf, LinearWeight, Matrix, map_leaves

BLOCK = 16


def batch(tokens: int, depth: int, texts: int = 1) -> Batch:
    """``tokens`` new ones of each of ``texts`` texts, all of whose logits are wanted."""
    blocks = -(-(depth + tokens) // BLOCK)
    tables = np.arange(texts * blocks, dtype=np.int32).reshape(texts, blocks)
    positions = np.tile(np.arange(depth, depth + tokens, dtype=np.int32), texts)
    text = np.repeat(np.arange(texts), tokens)
    return Batch(
        ids=np.random.default_rng(0).integers(300, 20000, texts * tokens).astype(np.int32),
        positions=positions,
        cu_seqlens=np.arange(0, texts * tokens + 1, tokens, dtype=np.int32),
        lengths=np.full(texts, depth + tokens, np.int32),
        block_tables=tables,
        slots=(tables[text, positions // BLOCK] * BLOCK + positions % BLOCK).astype(np.int32),
        rows=np.arange(texts * tokens, dtype=np.int32),
    )


def weights(params: object) -> int:
    """How many weights a token is multiplied with."""
    found = 0

    def count(leaf: Leaf) -> Leaf:
        nonlocal found
        stored: list[Matrix] = []
        if isinstance(leaf, GluWeight):
            stored += leaf.gate, leaf.up
        elif isinstance(leaf, LinearWeight):
            stored += leaf.matrices
        for matrix in stored:
            block = {"q4_0": (18, 32), "q8_0": (34, 32)}.get(matrix.format, (1, 1))
            found += matrix.rows * matrix.values.shape[1] // block[0] * block[1]
        return leaf

    map_leaves(params, count)
    return found


def seconds(decoder: OpenDecoder, given: Batch) -> float:
    start = time.perf_counter()
    decoder.step(given)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--head", choices=("rescored", "exact"), default="rescored")
    parser.add_argument("--threads", type=int, default=native.threads())
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    for path in arguments.models:
        files = checkpoint.load(path)
        config = decoder_config(files.config(), path)
        params = decoder_params(config, files.tensors)
        cost = 2 * weights(params)
        blocks = 16 * -(-(arguments.depth + 64) // BLOCK)
        decoder = OpenDecoder(NativeOps(head=arguments.head), config, params, blocks=blocks)
        one = batch(1, arguments.depth)
        print(
            f"\n{path.stem}, {native.isa()}, {native.threads()} threads, depth {arguments.depth}, {arguments.head} head"
        )
        for label, texts, counts in (
            ("verify", 1, (2, 4, 8, 9, 12, 16, 24, 32, 48, 64)),
            ("streams", 0, (2, 4, 8, 16)),
        ):
            for count in counts:
                given = batch(count, arguments.depth) if texts else batch(1, arguments.depth, count)
                seconds(decoder, given)
                pairs = [(seconds(decoder, one), seconds(decoder, given)) for _ in range(arguments.rounds)]
                alone, both = (statistics.median(times) for times in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                print(
                    f"{label:8}{count:3} tokens {both * 1e3:8.2f} ms  {ratio:5.2f}x one ({alone * 1e3:.2f} ms)"
                    f"  {count / ratio:5.2f}x its tokens/s  {cost * count / both / 1e9:6.0f} GOP/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()

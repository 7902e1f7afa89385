"""What the engine itself costs a step: scheduling, batches, sampling and detokenizing, without the model's own time.

    python benchmarks/engine_overhead.py [--streams 1 8 32] [--vocabulary 151936] [--depth 512]

The runner answers at once, with logits that it made before, so all that is left is ours. Times are microseconds a step,
the median over steps and the mean; a token of a 0.5B model takes about 13,000.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.engine import Engine
from ownlm.engine.sampling_params import SamplingParams
from ownlm.model.batch import Batch


class InstantRunner:
    """Logits that were made before; nothing is computed. Notes when each step began and ended."""

    block_size = 16

    def __init__(self, vocab_size: int, streams: int, context: int) -> None:
        self.vocab_size, self.max_positions = vocab_size, context
        self.blocks = streams * -(-context // self.block_size)
        self._logits = np.random.default_rng(0).standard_normal((streams, vocab_size), np.float32)
        self.began: list[float] = []
        self.ended: list[float] = []

    def step(self, batch: Batch) -> NDArray[np.float32]:
        self.began.append(time.perf_counter())
        self._logits[:, : len(self.began) % 7] += 1e-3  # as a step would, bring the logits into this core's cache
        logits = self._logits[: len(batch.rows)]
        self.ended.append(time.perf_counter())
        return logits

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        raise AssertionError("nothing is copied here")


def measure(streams: int, vocab_size: int, depth: int, tokens: int, params: SamplingParams) -> tuple[float, float]:
    """Median and mean microseconds between the end of one step and the beginning of the next."""
    runner = InstantRunner(vocab_size, streams, depth + tokens + 64)
    with Engine(runner, max_running=streams, step_tokens=1 << 20, step_tokens_shared=1 << 20) as engine:
        handles = [engine.submit([7 + index] * depth, params) for index in range(streams)]
        for handle in handles:
            while not handle.done:
                handle.poll()
                time.sleep(0.02)
    gaps = [1e6 * (began - ended) for ended, began in zip(runner.ended, runner.began[1:], strict=False)]
    steady = gaps[len(gaps) // 4 : -len(gaps) // 8]
    return statistics.median(steady), statistics.fmean(steady)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=400)
    options = parser.parse_args()
    kinds = {
        "greedy": SamplingParams(temperature=0, max_tokens=options.tokens),
        "temperature 0.7, top_p 0.9, top_k 40": SamplingParams(
            temperature=0.7, top_p=0.9, top_k=40, max_tokens=options.tokens, seed=1
        ),
    }
    print(f"vocabulary {options.vocabulary}, depth {options.depth}; microseconds a step: median (mean)")
    for streams in options.streams:
        for name, params in kinds.items():
            median, mean = measure(streams, options.vocabulary, options.depth, options.tokens, params)
            print(f"{streams:3} streams  {name:40} {median:8.0f} ({mean:.0f})")


if __name__ == "__main__":
    main()

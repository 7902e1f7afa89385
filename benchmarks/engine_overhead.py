"""What the engine itself costs a step: scheduling, batches, sampling and detokenizing, without the model's own time.

    python benchmarks/engine_overhead.py [--streams 1 8 32] [--vocabulary 151936] [--depth 512] [--step-ms 13]
                                         [--tokenizer FOLDER]

The runner gives logits that it made before, after reading memory for ``--step-ms`` as a model reads its weights (the
caches are as cold as behind a model); all the rest is ours. Times are microseconds of the engine's thread on a core
(what else runs on the machine is not counted) from the end of a step to the beginning of the next, the median and the
mean; a step of a 0.5B model takes about 13,000.
With a tokenizer, a thread for each stream makes text of the tokens at the same time, as a server does.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.engine import Engine
from ownlm.engine.generation import Generation
from ownlm.engine.handle import Handle
from ownlm.engine.sampling_params import SamplingParams
from ownlm.model.batch import Batch
from ownlm.tokenizer import Tokenizer

WEIGHTS = 1 << 24  # floats that a step reads over and over, so that the caches are as cold as behind a model


class InstantRunner:
    """Logits that were made before; nothing is computed. Notes when each step began and ended."""

    block_size = 16

    def __init__(self, vocab_size: int, streams: int, context: int, seconds: float) -> None:
        self._seconds = seconds
        self._weights = np.ones(WEIGHTS, np.float32)
        self.vocab_size, self.max_positions = vocab_size, context
        self.blocks = streams * -(-context // self.block_size)
        self._logits = np.random.default_rng(0).standard_normal((streams, vocab_size), np.float32)
        self.began: list[float] = []
        self.ended: list[float] = []

    def step(self, batch: Batch) -> NDArray[np.float32]:
        self.began.append(time.thread_time())
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            self._weights.sum()
        logits = self._logits[: len(batch.rows)]
        np.add(logits, np.float32(0), out=logits)  # as a step would, write them last
        self.ended.append(time.thread_time())
        return logits

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        raise AssertionError("nothing is copied here")


def consume(handle: Handle, tokenizer: Tokenizer | None) -> None:
    """Take all tokens, as text if there is a tokenizer."""
    for _ in handle if tokenizer is None else Generation(handle, tokenizer, [1]):
        pass


def measure(options: argparse.Namespace, streams: int, params: SamplingParams) -> tuple[float, float]:
    """Median and mean microseconds between the end of one step and the beginning of the next."""
    tokenizer = None if options.tokenizer is None else Tokenizer.load(options.tokenizer)
    context = options.depth + options.tokens + 64
    runner = InstantRunner(options.vocabulary, streams, context, options.step_ms / 1000)
    with Engine(runner, max_running=streams, step_tokens=1 << 20, step_tokens_shared=1 << 20) as engine:
        handles = [engine.submit([7 + index] * options.depth, params) for index in range(streams)]
        threads = [threading.Thread(target=consume, args=(handle, tokenizer)) for handle in handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    gaps = [1e6 * (began - ended) for ended, began in zip(runner.ended, runner.began[1:], strict=False)]
    steady = gaps[len(gaps) // 4 : -len(gaps) // 8]
    return statistics.median(steady), statistics.fmean(steady)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--step-ms", type=float, default=13.0)
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer.json")
    options = parser.parse_args()
    kinds = {
        "greedy": SamplingParams(temperature=0, max_tokens=options.tokens),
        "temperature 0.7, top_p 0.9, top_k 40": SamplingParams(
            temperature=0.7, top_p=0.9, top_k=40, max_tokens=options.tokens, seed=1
        ),
    }
    about = f"vocabulary {options.vocabulary}, depth {options.depth}, steps of {options.step_ms} ms"
    print(f"{about}; microseconds between steps: median (mean)")
    for streams in options.streams:
        for name, params in kinds.items():
            median, mean = measure(options, streams, params)
            print(f"{streams:3} streams  {name:40} {median:8.0f} ({mean:.0f})")


if __name__ == "__main__":
    main()

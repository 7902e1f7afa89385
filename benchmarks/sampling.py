"""What choosing a token costs, by what is asked of it.

    python benchmarks/sampling.py [--vocabulary 151936] [--tokenizer FOLDER]

Logits are noise of standard deviation 3, and, as "peaked", the same with one token far ahead, as a trained model's most
often are. Times are of one row, in microseconds of this thread on a core (what else runs is not counted): the median,
and the 95th percentile. With a tokenizer, its masks too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.engine.grammar import Grammar, GrammarVocabulary
from ownlm.engine.sampler import RequestSampling, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.tokenizer import Tokenizer

ROUNDS = 200
SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0}, {}, {"temperature": 0.7}, {"top_k": 20}, {"top_p": 0.9}, {"min_p": 0.05},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}, {"temperature": 0, "logprobs": 5},
    {"temperature": 0, "logit_bias": {5: 1.0}},
]  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "tags"],
}


def measure(work: Callable[[int], object], rounds: int = ROUNDS) -> str:
    took = []
    for round_ in range(rounds):
        began = time.thread_time()
        if work(round_) is False:
            break
        took.append((time.thread_time() - began) * 1e6)
    return f"{np.median(took):8.0f} {np.percentile(took, 95):8.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    size = options.vocabulary
    noise = np.random.default_rng(0).normal(0, 3, (8, size)).astype(np.float32)
    peaked = noise.copy()
    peaked[:, 7] = 30
    sampler = Sampler()
    print(f"{'vocabulary ' + str(size):58} {'median':>8} {'p95':>8}")
    for name, logits in (("noise", noise), ("peaked", peaked)):
        for settings in SETTINGS:
            state = RequestSampling(SamplingParams(**settings), [1, 2, 3], (2,), size)
            cost = measure(lambda at, state=state, logits=logits: sampler.sample(logits[at % 8 : at % 8 + 1], [state]))
            print(f"{name:7} {settings or 'temperature 1'!s:50} {cost}")
    if options.tokenizer is None:
        return
    tokenizer = Tokenizer.load(options.tokenizer)
    began = time.perf_counter()
    vocabulary = GrammarVocabulary(tokenizer, tokenizer.vocab_size, tokenizer.eos_ids)
    print(f"\nvocabulary of {tokenizer.vocab_size} for grammars: {time.perf_counter() - began:.2f} s, once a model")
    for grammar in (
        Grammar.json_schema(SCHEMA),
        Grammar.regex("[a-z ]{10,400}"),
        Grammar.json_object().after("</think>"),
    ):
        began = time.perf_counter()
        compiled = grammar.compile(vocabulary)
        took = (time.perf_counter() - began) * 1e3
        params = SamplingParams(grammar=compiled, seed=1)
        state = RequestSampling(params, [1], vocabulary.ends, tokenizer.vocab_size)

        def step(at: int, state: RequestSampling = state) -> object:
            (sampled,) = sampler.sample(noise[at % 8 : at % 8 + 1, : tokenizer.vocab_size], [state])
            return not state.finished and sampled.token not in state.ends and sampled.error is None

        cost = measure(step)
        print(f"{grammar.kind:7} {f'compiled in {took:.0f} ms; mask and draw':50} {cost}")


if __name__ == "__main__":
    main()

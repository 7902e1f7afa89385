"""The work that is timed: requests as a user makes them, and single steps of the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.engine.llm import LLM
from ownlm.engine.runner import Runner
from ownlm.model.batch import Batch


@dataclass(frozen=True, slots=True)
class Timed:
    """``first``: seconds to the first token of every answer. ``rate``: tokens a second after that, of all answers."""

    first: float
    rate: float


def random_prompt(llm: LLM, tokens: int, seed: int) -> list[int]:
    """Ids that no cache knows, none of them special. What they say does not matter to the time that they take."""
    special = llm.tokenizer.special_ids
    ordinary = np.array([id_ for id_ in range(min(llm.vocab_size, llm.tokenizer.vocab_size)) if id_ not in special])
    found: list[int] = np.random.default_rng(seed).choice(ordinary, tokens).tolist()
    return found


def answer(llm: LLM, prompt: Sequence[int], new: int, streams: int = 1) -> Timed:
    """``streams`` greedy answers of ``new`` + 1 tokens each to one prompt, through engine, sampler and detokenizer."""
    params = llm.params(max_tokens=new + 1, temperature=0.0, ignore_eos=True)
    came = threading.Event()
    start = time.perf_counter()
    answers = llm.start(prompt, params, streams)
    for each in answers:
        each.notify(came.set)
    first = counted = 0.0
    while not all(each.done for each in answers):
        came.wait()
        came.clear()
        for each in answers:
            each.poll()
        if not first and all(each.completion_tokens for each in answers):
            first, counted = time.perf_counter(), sum(each.completion_tokens for each in answers)
    end = time.perf_counter()
    total = sum(each.completion_tokens for each in answers)
    if total == counted:  # so fast that all were there at the first look
        return Timed(first - start, total / (end - start))
    return Timed(first - start, (total - counted) / (end - first))


class Steps:
    """Steps of a runner over one text, while no engine uses it; what its cache held is overwritten."""

    def __init__(self, runner: Runner, depth: int, seed: int = 0) -> None:
        """Compute a text of ``depth`` random tokens."""
        self._runner, self._depth = runner, depth
        self._ids = np.random.default_rng(seed).integers(0, runner.vocab_size, depth + 256, dtype=np.int32)
        for start in range(0, depth, 512):
            self._runner.step(self._batch(start, min(512, depth - start), 0))

    def seconds(self, tokens: int) -> float:
        """Of one step that computes ``tokens`` more, at most 256, with the logits of each."""
        batch = self._batch(self._depth, tokens, tokens)
        start = time.perf_counter()
        self._runner.step(batch)
        return time.perf_counter() - start

    def _batch(self, start: int, tokens: int, rows: int) -> Batch:
        places = np.arange(start, start + tokens, dtype=np.int32)
        blocks = -(-(start + tokens) // self._runner.block_size)
        return Batch(
            ids=self._ids[start : start + tokens],
            positions=places,
            cu_seqlens=np.array([0, tokens], np.int32),
            lengths=np.array([start + tokens], np.int32),
            block_tables=np.arange(blocks, dtype=np.int32)[None],
            slots=places,
            rows=np.arange(tokens - rows, tokens, dtype=np.int32),
        )

"""onnxruntime-genai's side of cpu_engine.py, run by a Python that has it: its own generator, as its examples use it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
from side import serve


class OnnxRuntime:
    """``all_rows``: take the graph that gives the logits of all tokens, for ``check``. One sequence: eight would need
    eight prompts computed."""

    def __init__(self, model: str, threads: int, context: int, all_rows: bool = False, **_: Any) -> None:
        config = og.Config(str(Path(model) / "all") if all_rows else model)
        session = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self.model = og.Model(config)
        self.context, self.depth, self.last = context, 0, 0
        self.generator: Any = None

    def prompt(self, ids: list[int], sequences: int) -> float:
        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=self.context, min_length=self.context, do_sample=False, batch_size=1)
        self.generator = None  # its cache goes before the next one comes
        self.generator = og.Generator(self.model, params)
        start = time.perf_counter()
        self.generator.append_tokens(np.array(ids, np.int32))
        self.generator.generate_next_token()  # of the logits that are there
        took = time.perf_counter() - start
        self.depth = len(ids)
        return took

    def extend(self, ids: list[int]) -> None:
        self.generator.rewind_to(self.depth)
        self.generator.append_tokens(np.array(ids, np.int32))
        self.generator.generate_next_token()
        self.depth += len(ids)

    def more(self, new: int) -> list[float]:
        times = []
        for _ in range(new):
            start = time.perf_counter()
            self.generator.generate_next_token()
            times.append(time.perf_counter() - start)
        self.generator.rewind_to(self.depth)
        self.generator.append_tokens(np.array([5], np.int32))
        self.generator.generate_next_token()
        return times

    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]:
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * times):
            self.generator.rewind_to(self.depth)
            tokens = np.full(rows if turn % 2 else 1, 5, np.int32)
            start = time.perf_counter()
            self.generator.append_tokens(tokens)
            self.generator.get_logits()
            found[turn % 2].append(time.perf_counter() - start)
        return found


if __name__ == "__main__":
    serve(OnnxRuntime)

"""OpenVINO's side of cpu_engine.py, run by a Python that has it: its stateful model, as its own pipelines run it.

Logits are of the last token alone, by the same change to the graph that OpenVINO GenAI makes, but while drafts are
checked. The keys and values are 8-bit, which is its default.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from side import serve


class OpenVino:
    """``dynamic``: the group of activations that share a scale, 0 for none."""

    def __init__(
        self, model: str, threads: int, context: int, dynamic: int = 32, cache: str = "u8", all_rows: bool = False,
        **_: Any,
    ) -> None:  # fmt: skip
        core = ov.Core()
        graph = core.read_model(Path(model) / "model.xml")
        if not all_rows:
            head = graph.outputs[0].get_node().input_value(0).get_node()
            rows = head.input_value(0)
            last = ops.slice(rows, *(ops.constant(np.array([n], np.int64)) for n in (-1, 2**31 - 1, 1, 1)))
            head.input(0).replace_source_output(last.output(0))
        self.request = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": dynamic,
                "KV_CACHE_PRECISION": cache,
            },
        ).create_infer_request()
        self.tokens, self.depth = np.zeros(1, np.int64), 0
        self.ids: list[int] = []

    def prompt(self, ids: list[int], sequences: int) -> float:
        self.request.reset_state()
        self.depth, self.ids = 0, ids
        start = time.perf_counter()
        logits = self._step(np.array([ids], np.int64), np.zeros(1, np.int32))
        took = time.perf_counter() - start
        self.tokens = np.repeat(logits[:, -1].argmax(-1), sequences)
        return took

    def extend(self, ids: list[int]) -> None:
        self.prompt(self.ids + ids, 1)  # anew: many tokens behind a long text are slow here

    def more(self, new: int) -> list[float]:
        times = []
        for _ in range(new):
            held = self.request.get_tensor("beam_idx").shape[0]
            beams = (
                np.arange(len(self.tokens), dtype=np.int32) if held == len(self.tokens) else np.zeros_like(self.tokens)
            )
            start = time.perf_counter()
            logits = self._step(self.tokens[:, None], beams.astype(np.int32))
            self.tokens = logits[:, -1].argmax(-1)
            times.append(time.perf_counter() - start)
        return times

    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]:
        """The text grows by what is checked: its state cannot be cut."""
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * times):
            tokens = np.full((1, rows if turn % 2 else 1), 5, np.int64)
            start = time.perf_counter()
            self._step(tokens, np.zeros(1, np.int32))
            found[turn % 2].append(time.perf_counter() - start)
        return found

    def _step(self, tokens: np.ndarray[Any, Any], beams: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        count, new = tokens.shape
        places = np.arange(self.depth, self.depth + new, dtype=np.int64)
        self.depth += new
        self.request.infer(
            {
                "input_ids": tokens,
                "attention_mask": np.ones((count, self.depth), np.int64),
                "position_ids": np.broadcast_to(places, (count, new)).copy(),
                "beam_idx": beams,
            }
        )
        found: np.ndarray[Any, Any] = self.request.get_output_tensor(0).data
        return found


if __name__ == "__main__":
    serve(OpenVino)

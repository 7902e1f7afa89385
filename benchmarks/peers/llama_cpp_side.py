"""llama.cpp's side of cpu_engine.py, run by a Python that has llama-cpp-python.

Uses the C API as it is: nothing of the binding's own Python is in the figures but the loop itself.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import llama_cpp as c
import numpy as np
from side import serve

_TYPES = {"f16": 1, "q8_0": 8}  # of GGML


class LlamaCpp:
    """One model with a context for several sequences. ``cache``: "f16" or "q8_0" (which needs ``flash``)."""

    def __init__(
        self, model: str, threads: int, context: int, sequences: int = 1, cache: str = "f16", flash: bool = True,
        ubatch: int = 512,
    ) -> None:  # fmt: skip
        c.llama_log_set(ctypes.cast(_quiet, c.llama_log_callback), ctypes.c_void_p(0))
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
        settings: Any = c.llama_context_default_params()
        settings.n_ctx = context * sequences if sequences > 1 else context
        settings.n_batch, settings.n_ubatch = max(512, ubatch), ubatch
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = _TYPES[cache]
        if hasattr(settings, "flash_attn_type"):
            settings.flash_attn_type = int(flash)
        else:
            settings.flash_attn = flash
        self.context = c.llama_init_from_model(self.model, settings)
        if not self.context:
            raise RuntimeError("llama.cpp makes no context with these settings")
        self.memory = c.llama_get_memory(self.context)
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.size = settings.n_batch
        self.batch = c.llama_batch_init(self.size, 0, 1)
        self.tokens: list[int] = []
        self.depth = 0

    def prompt(self, ids: list[int], sequences: int) -> float:
        c.llama_memory_clear(self.memory, True)
        self.depth = 0
        start = time.perf_counter()
        self.extend(ids)
        took = time.perf_counter() - start
        for s in range(1, sequences):
            c.llama_memory_seq_cp(self.memory, 0, s, -1, -1)
        self.tokens = self.tokens * sequences
        return took

    def extend(self, ids: list[int]) -> None:
        for at in range(0, len(ids), self.size):
            part = ids[at : at + self.size]
            places = list(range(self.depth, self.depth + len(part)))
            self.tokens = self._step(part, places, [0] * len(part), {len(part) - 1})
            self.depth += len(part)

    def more(self, new: int) -> list[float]:
        count = len(self.tokens)
        tokens, times = self.tokens, []
        for i in range(new):
            start = time.perf_counter()
            tokens = self._step(tokens, [self.depth + i] * count, list(range(count)), set(range(count)))
            times.append(time.perf_counter() - start)
        for s in range(count):
            c.llama_memory_seq_rm(self.memory, s, self.depth, -1)
        return times

    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]:
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * times):
            count = rows if turn % 2 else 1
            tokens = [self.tokens[0]] * count
            start = time.perf_counter()
            self._step(tokens, [self.depth + i for i in range(count)], [0] * count, set(range(count)))
            found[turn % 2].append(time.perf_counter() - start)
            c.llama_memory_seq_rm(self.memory, 0, self.depth, -1)
        return found

    def _step(self, tokens: list[int], positions: list[int], sequences: list[int], wanted: set[int]) -> list[int]:
        """Computes a batch; greedy ids of the wanted rows."""
        b = self.batch
        b.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0] = token, positions[i], 1, sequences[i]
            b.logits[i] = i in wanted
        if c.llama_decode(self.context, b):
            raise RuntimeError("llama_decode failed")
        found = []
        for i in sorted(wanted):
            row = c.llama_get_logits_ith(self.context, i)
            found.append(int(np.argmax(np.ctypeslib.as_array(row, (self.vocabulary,)))))
        return found


@c.llama_log_callback
def _quiet(level: int, text: bytes, data: object) -> None:
    pass


if __name__ == "__main__":
    serve(LlamaCpp)

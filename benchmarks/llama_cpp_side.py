"""llama.cpp's side of cpu_engine.py, run by a Python that has llama-cpp-python: no import of ours.

Reads one JSON command a line, answers with one line of seconds. Uses the C API as it is: nothing of the binding's own
Python is in the figures but the loop itself.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import llama_cpp as c
import numpy as np


class Side:
    """One model with a context for several sequences."""

    def __init__(self, path: str, threads: int, context: int, sequences: int) -> None:
        c.llama_log_set(ctypes.cast(_quiet, c.llama_log_callback), ctypes.c_void_p(0))
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        settings = c.llama_context_default_params()
        settings.n_ctx = context * sequences
        settings.n_batch = settings.n_ubatch = 512
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        self.context = c.llama_init_from_model(self.model, settings)
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(512, 0, 1)

    def clear(self) -> None:
        c.llama_memory_clear(c.llama_get_memory(self.context), True)

    def step(self, tokens: list[int], positions: list[int], sequences: list[int], wanted: list[int]) -> list[int]:
        """Computes a batch; greedy ids of the wanted rows."""
        b = self.batch
        b.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0] = token, positions[i], 1, sequences[i]
            b.logits[i] = i in wanted
        if c.llama_decode(self.context, b):
            raise RuntimeError("llama_decode failed")
        found = []
        for i in wanted:
            row = c.llama_get_logits_ith(self.context, i)
            found.append(int(np.argmax(np.ctypeslib.as_array(row, (self.vocabulary,)))))
        return found

    def run(self, prompt: list[int], new: int, sequences: int) -> dict[str, list[float]]:
        """Seconds of the prompt for one sequence, and of each step after it for all."""
        self.clear()
        start = time.perf_counter()
        first = self.step(prompt, list(range(len(prompt))), [0] * len(prompt), [len(prompt) - 1])
        prefill = time.perf_counter() - start
        for s in range(1, sequences):
            c.llama_memory_seq_cp(c.llama_get_memory(self.context), 0, s, -1, -1)
        tokens, times = first * sequences, []
        for i in range(new):
            start = time.perf_counter()
            tokens = self.step(tokens, [len(prompt) + i] * sequences, list(range(sequences)), list(range(sequences)))
            times.append(time.perf_counter() - start)
        return {"prefill": [prefill], "steps": times}


@c.llama_log_callback
def _quiet(level: int, text: bytes, data: object) -> None:
    pass


def main() -> None:
    side = Side(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(side.run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

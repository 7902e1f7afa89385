"""llama.cpp's side of quantized_quality.py, run by a Python that has llama-cpp-python: no import of ours.

quantize SOURCE TARGET TYPE     write a GGUF file in another type
read FILE CONTEXT               for each line of token ids (JSON) on stdin: the number of columns, then float32 logits
"""

from __future__ import annotations

import ctypes
import json
import sys

import llama_cpp as c


@c.llama_log_callback
def _quiet(level: int, text: bytes, data: object) -> None:
    pass


def quantize(source: str, target: str, kind: str) -> None:
    settings = c.llama_model_quantize_default_params()
    settings.nthread = 1
    settings.ftype = getattr(c, f"LLAMA_FTYPE_MOSTLY_{kind}")
    if c.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(settings)):
        sys.exit(f"llama.cpp did not quantize {source} to {kind}")


def read(path: str, context: int) -> None:
    model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
    settings = c.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = context
    opened = c.llama_init_from_model(model, settings)
    columns = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    batch = c.llama_batch_init(context, 0, 1)
    for line in sys.stdin:
        ids = json.loads(line)
        c.llama_memory_clear(c.llama_get_memory(opened), True)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
        if c.llama_decode(opened, batch):
            sys.exit("llama_decode failed")
        rows = ctypes.string_at(c.llama_get_logits(opened), 4 * columns * len(ids))
        sys.stdout.buffer.write(f"{columns}\n".encode() + rows)
        sys.stdout.buffer.flush()


def main() -> None:
    c.llama_log_set(ctypes.cast(_quiet, c.llama_log_callback), ctypes.c_void_p(0))
    c.llama_backend_init()
    if sys.argv[1] == "quantize":
        quantize(*sys.argv[2:])
    else:
        read(sys.argv[2], int(sys.argv[3]))


if __name__ == "__main__":
    main()

"""GGUF files with random weights in the shape of known models: Q4_0 matrices and an 8-bit head, which is the table too
where the model ties them; else the table is Q4_0.

    python benchmarks/random_gguf.py llama-2-7b FOLDER
"""

from __future__ import annotations

import itertools
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.formats import FORMATS
from ownlm.model.gguf.types import FILE_TYPES, Value
from ownlm.model.gguf.write import Planned, write
from shapes import SHAPES as SHAPES
from shapes import Shape

CONTEXT = 16384  # room for decoding at a depth of 8192, whatever the real one was made for


def write_random(path: Path, shape: Shape, table: str = "q8_0", seed: int = 0) -> None:
    """Matrices in Q4_0 with entries of standard deviation 1 / sqrt(inputs), the head (and tied table) in ``table``."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Planned] = {}

    def matrix(name: str, rows: int, columns: int, kind: str = "q4_0") -> None:
        tensors[name] = Planned(kind, (rows, columns), lambda: random_blocks(rng, kind, rows, columns))

    def vector(name: str, size: int, value: float) -> None:
        tensors[name] = Planned("F32", (size,), lambda: np.full(size, value, np.float32))

    wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    matrix("token_embd.weight", shape.vocabulary, shape.hidden, table if shape.tied else "q4_0")
    if not shape.tied:
        matrix("output.weight", shape.vocabulary, shape.hidden, table)
    vector("output_norm.weight", shape.hidden, 1)
    for layer in range(shape.layers):
        at = f"blk.{layer}."
        vector(f"{at}attn_norm.weight", shape.hidden, 1)
        vector(f"{at}ffn_norm.weight", shape.hidden, 1)
        for name, rows in (("q", wide), ("k", narrow), ("v", narrow)):
            matrix(f"{at}attn_{name}.weight", rows, shape.hidden)
            if shape.biases:
                vector(f"{at}attn_{name}.bias", rows, 0.1)
        matrix(f"{at}attn_output.weight", shape.hidden, wide)
        matrix(f"{at}ffn_gate.weight", shape.inner, shape.hidden)
        matrix(f"{at}ffn_up.weight", shape.inner, shape.hidden)
        matrix(f"{at}ffn_down.weight", shape.hidden, shape.inner)
    write(path, _metadata(shape), tensors)


def random_blocks(rng: np.random.Generator, kind: str, rows: int, columns: int) -> NDArray[np.uint8]:
    """Blocks of uniform values with standard deviation 1 / sqrt(columns)."""
    form = FORMATS[kind]
    blocks = rng.integers(0, 256, (rows, columns // form.block, form.bytes), dtype=np.uint8)
    spread = 16 / 12**0.5 if kind == "q4_0" else 256 / 12**0.5
    blocks[..., :2] = np.frombuffer(np.float16(columns**-0.5 / spread).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def _metadata(shape: Shape) -> dict[str, Value]:
    numbers: dict[str, Any] = {
        "block_count": shape.layers, "context_length": CONTEXT, "embedding_length": shape.hidden,
        "feed_forward_length": shape.inner, "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads, "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim, "rope.dimension_count": shape.head_dim,
        "vocab_size": shape.vocabulary,
    }  # fmt: skip
    keys = {"general.architecture": Value("str", shape.architecture), "general.type": Value("str", "model")}
    keys |= {f"{shape.architecture}.{key}": Value("u32", value) for key, value in numbers.items()}
    keys[f"{shape.architecture}.attention.layer_norm_rms_epsilon"] = Value("f32", 1e-6)
    keys[f"{shape.architecture}.rope.freq_base"] = Value("f32", shape.rope_base)
    keys["general.file_type"] = Value("u32", FILE_TYPES["q4_0"])
    keys["general.quantization_version"] = Value("u32", 2)
    return keys | _tokenizer(shape)


def _tokenizer(shape: Shape) -> dict[str, Value]:
    """Byte-level BPE: the 256 bytes, then invented words, the last one the end of a text."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    words = ("Ġ" + "".join(w) for size in (1, 2, 3, 4) for w in itertools.product(string.ascii_lowercase, repeat=size))
    tokens = [*letters, *itertools.islice(words, shape.vocabulary - 257), "<|end|>"]
    return {
        "tokenizer.ggml.model": Value("str", "gpt2"),
        "tokenizer.ggml.pre": Value("str", "qwen2" if shape.architecture == "qwen2" else "llama-bpe"),
        "tokenizer.ggml.tokens": Value("str", tokens, array=True),
        "tokenizer.ggml.token_type": Value("i32", [1] * (len(tokens) - 1) + [3], array=True),
        "tokenizer.ggml.merges": Value("str", ["Ġ a", "Ġ b"], array=True),
        "tokenizer.ggml.eos_token_id": Value("u32", len(tokens) - 1),
        "tokenizer.ggml.add_bos_token": Value("bool", False),
    }


if __name__ == "__main__":
    write_random(Path(sys.argv[2]) / f"{sys.argv[1]}.gguf", SHAPES[sys.argv[1]])

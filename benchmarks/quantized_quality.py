"""What four bits cost a trained model: ours beside llama.cpp's own files, each run by its own engine, on one text.

    OWNLM_LLAMA_CPP=/path/to/python python benchmarks/quantized_quality.py MODEL --text FILE [--tokens 8192]

MODEL is a folder with float weights. llama.cpp quantizes a float32 export of it, as its users would, and reads the text
through its C API; ours is what ``ownlm quantize`` writes, read with the exact head and with the one that is rescored.
Every distribution is compared with that of the float model in float arithmetic: KL in nats a token, how often the same
token is likeliest, the ratio of perplexities, and the bytes of the model that is read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ownlm.model import checkpoint
from ownlm.model.agreement import agreement
from ownlm.model.gguf.export import export
from ownlm.model.opened import Ids, Logits, open_to_read, window_of, windows
from ownlm.quant.quantize import quantize

THEIRS = ("Q4_0", "Q4_K_M", "Q8_0")


class LlamaCpp:
    """A GGUF file read by llama.cpp in a process of its own."""

    def __init__(self, python: str, path: Path, context: int) -> None:
        script = Path(__file__).with_name("llama_cpp_logits.py")
        self._process = subprocess.Popen(
            [python, str(script), "read", str(path), str(context)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def read(self, ids: Ids) -> Logits:
        """float32 [T, V]: logits at every token."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(ids.tolist()).encode() + b"\n")
        self._process.stdin.flush()
        columns = int(self._process.stdout.readline())
        data = self._process.stdout.read(4 * columns * len(ids))
        return np.frombuffer(data, np.float32).reshape(len(ids), columns)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="a text that the model was not trained on")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    python = os.environ.get("OWNLM_LLAMA_CPP", "")
    if not python:
        print("OWNLM_LLAMA_CPP is not set: without llama.cpp", file=sys.stderr)
    found = checkpoint.load(arguments.model)
    ids = found.load_tokenizer(arguments.model).encode(arguments.text.read_text("utf-8"), parse_special=False)
    floats = open_to_read(arguments.model, found, "torch")
    parts = windows(ids[: arguments.tokens], window_of(floats.config))
    rows: list[dict[str, float | str]] = []

    def compare(name: str, read: Callable[[Ids], Logits], size: int) -> None:
        a = agreement(floats.read, read, parts)
        rows.append(
            {"name": name, "bytes": size, "kl": a.mean_kl, "kl_999": a.kl_999, "top1": a.top1_agreement,
             "perplexity_ratio": a.perplexity_ratio}
        )  # fmt: skip
        print(
            f"{name:28}{size / 1e6:9.2f} MB   KL {a.mean_kl:.5f} (99.9 %: {a.kl_999:.3f})   "
            f"same first {a.top1_agreement:.2%}   perplexity x {a.perplexity_ratio:.4f}",
            flush=True,
        )

    print(f"{sum(len(part) - 1 for part in parts)} tokens of {arguments.text.name}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for form in ("q4_0", "q8_0"):
            target = folder / form
            quantize(arguments.model, target, form)
            made = checkpoint.load(target)
            size = sum(tensor.array.nbytes for tensor in made.tensors.values())
            for head in ("exact", "rescored"):
                opened = open_to_read(target, made, "native", head=head)
                compare(f"ownlm {form}, {head} head", opened.read, size)
        if python:
            plain = folder / "f32.gguf"
            export(arguments.model, plain, "f32")
            for kind in THEIRS:
                path = folder / f"{kind}.gguf"
                script = Path(__file__).with_name("llama_cpp_logits.py")
                subprocess.run([python, str(script), "quantize", str(plain), str(path), kind], check=True)
                side = LlamaCpp(python, path, window_of(floats.config) + 1)
                tensors = checkpoint.load(path).tensors
                size = sum(tensor.array.nbytes for tensor in tensors.values())
                compare(f"llama.cpp {kind}", side.read, size)
                side.close()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

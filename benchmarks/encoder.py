"""How fast and how exact the encoder is, against sentence-transformers, in one run on the same threads.

    OWNLM_DATA=DATA python benchmarks/encoder.py --model OFFICIAL_FOLDER_OR_WHEEL

Speed: paragraphs of 150 to 200 wordpieces; every system encodes the same texts in turn, round after round, so that
whatever else the machine does falls on all of them. Exactness: cosine against transformers in float32 over 500 texts.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.engine import Embedder

SECONDS = 4.0  # about what one system may take of a round
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def distinct(path: Path, field: str) -> list[str]:
    """Every distinct value of a field of a JSON-lines file, in order."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return list(dict.fromkeys(json.loads(line)[field] for line in lines))


def official(source: Path, scratch: Path) -> Path:
    """The official float32 folder; a wheel that holds it is unpacked."""
    if not source.is_file():
        return source
    with zipfile.ZipFile(source) as archive:
        archive.extractall(scratch)
    return next(scratch.glob("*/model/config.json")).parent


def peers(folder: Path, threads: int) -> dict[str, Encode]:
    """sentence-transformers in float32 and in bfloat16."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    found: dict[str, Encode] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
        found[f"sentence-transformers {name}"] = model.encode
    return found


def ours(embedder: Embedder, isa: str) -> Encode:
    """The model that ships, with one instruction set."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        native.use_isa(isa)
        return embedder.encode(texts, truncate=True)

    return encode


def exact(folder: Path, texts: Sequence[str], length: int) -> NDArray[np.float32]:
    """Vectors by transformers in float32, one text at a time."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            states = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
            rows.append(torch.nn.functional.normalize(states.mean(0), dim=0).numpy())
    return np.stack(rows)


def speed(systems: dict[str, Encode], texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Median texts a second of each system, taken in turn; one that is slow takes fewer of the texts each time."""
    taken: dict[str, list[float]] = {name: [] for name in systems}
    share = dict.fromkeys(systems, min(8, len(texts)))
    for turn in range(-1, rounds):  # the first turn warms up
        for name, encode in systems.items():
            start = time.perf_counter()
            encode(texts[: share[name]])
            rate = share[name] / (time.perf_counter() - start)
            if turn < 0:
                share[name] = min(len(texts), max(8, int(rate * SECONDS)))
            else:
                taken[name].append(rate)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=os.environ.get("OWNLM_MINILM"), help="official folder or wheel")
    parser.add_argument("--threads", type=int, default=native.threads())
    parser.add_argument("--texts", type=int, default=128, help="paragraphs a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("speed", "cosine"))
    arguments = parser.parse_args()
    data = Path(os.environ.get("OWNLM_DATA", "")) / "grounded_qa/squad2_dev.jsonl.xz"
    if not data.is_file():
        print(
            "benchmarks/encoder.py: set OWNLM_DATA to a folder that holds grounded_qa/squad2_dev.jsonl.xz",
            file=sys.stderr,
        )
        return 2
    if arguments.model is None or not Path(arguments.model).exists():
        print("benchmarks/encoder.py: give --model, or OWNLM_MINILM: the official all-MiniLM-L6-v2", file=sys.stderr)
        return 2
    native.set_threads(arguments.threads)
    embedder = Embedder.load()
    contexts = distinct(data, "context")
    with tempfile.TemporaryDirectory() as scratch:
        folder = official(Path(arguments.model), Path(scratch))
        systems = {f"ownlm {isa}": ours(embedder, isa) for isa in native.isas()}
        if arguments.only != "cosine":
            paragraphs = [text for text in contexts if 150 <= embedder.count_tokens(text) <= 200][: arguments.texts]
            report_speed(
                speed(systems | peers(folder, arguments.threads), paragraphs, arguments.rounds), arguments.threads
            )
        if arguments.only != "speed":
            texts = contexts[:300] + distinct(data, "question")[:200]
            expected = exact(folder, texts, embedder.max_length)
            for name, encode in systems.items():
                cosines = (encode(texts) * expected).sum(1)
                print(f"{name:28} cosine over {len(texts)} texts: min {cosines.min():.5f}, mean {cosines.mean():.5f}")
    return 0


def report_speed(medians: dict[str, float], threads: int) -> None:
    """One line a system: texts a second, and the ratio to each peer."""
    fp32, bf16 = (medians[f"sentence-transformers {name}"] for name in ("fp32", "bf16"))
    print(f"paragraphs of 150-200 wordpieces, {threads} threads")
    for name, median in medians.items():
        print(f"{name:28} {median:7.1f} texts/s  {median / fp32:5.2f}x fp32  {median / bf16:5.2f}x bf16")


if __name__ == "__main__":
    sys.exit(main())

"""Memory does not grow with the text."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from pathlib import Path

import pytest
from corpus_support import WORDS

from ownlm.train.data import BuildSettings, Manifest, Source, build, minhash


def peak(folder: Path, tokenizer: Path, documents: int) -> tuple[float, Manifest]:
    """Bytes of Python and NumPy at their most, of a build of so many documents of 8 KB."""
    chance = random.Random(0)
    with gzip.open(folder / f"{documents}.jsonl.gz", "wt", compresslevel=1) as file:
        for _ in range(documents):
            file.write(json.dumps({"text": " ".join(chance.choices(WORDS, k=2000))}) + "\n")
    source = Source("s", folder / f"{documents}.jsonl.gz")
    tracemalloc.start()
    try:
        made = build([source], folder / f"out{documents}", BuildSettings(tokenizer=tokenizer, bucket_bytes=1 << 18))
        return tracemalloc.get_traced_memory()[1], made
    finally:
        tracemalloc.stop()


def test_memory_is_bounded(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownlm.train.data.scan.SEGMENT_BYTES", 1 << 18)
    monkeypatch.setattr("ownlm.train.data.encode.BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(minhash, "BLOCK", 1 << 14)
    monkeypatch.setattr(minhash, "_TABLES", [])
    peak(tmp_path, tokenizer_folder, 20)  # tables that are made once
    small, _ = peak(tmp_path, tokenizer_folder, 40)
    large, made = peak(tmp_path, tokenizer_folder, 160)
    assert made.sources[0].bytes > 1_000_000
    assert large < small * 1.2 + 200_000

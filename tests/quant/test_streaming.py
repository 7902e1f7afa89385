"""Quantizing a model that is larger than memory: one tensor at a time, and nothing left of what carried it."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import pytest

from ownlm.quant import quantize

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tokenizer")]
from tiny_llm import write_tiny_llm


def peak(source: Path, target: Path) -> int:
    """Bytes that Python and NumPy held at most."""
    tracemalloc.start()
    try:
        quantize(source, target, "q8_0")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["", ".gguf"])
def test_memory_does_not_grow_with_the_layers(tmp_path: Path, suffix: str) -> None:
    peaks, sizes = [], []
    for layers in (2, 60):
        folder = tmp_path / str(layers)
        folder.mkdir()
        target = tmp_path / f"{layers}-q8_0{suffix}"
        peaks.append(peak(write_tiny_llm(folder, num_hidden_layers=layers), target))
        sizes.append(sum(file.stat().st_size for file in (target.iterdir() if target.is_dir() else [target])))
    assert sizes[1] - sizes[0] > 1_500_000
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 2


def test_a_folder_is_whole_and_readable(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    tmp_path.chmod(0o755)
    target = tmp_path / "m-q4_0"
    quantize(write_tiny_llm(tmp_path / "m"), target, "q4_0")
    assert target.stat().st_mode & 0o777 == 0o755
    assert not [path for path in (*tmp_path.iterdir(), *target.iterdir()) if path.name.startswith(".")]

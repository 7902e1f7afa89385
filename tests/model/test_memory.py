"""Bytes counted by hand, and the refusal of what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import InvalidSetting
from ownlm.model import memory
from ownlm.model.decoder_families import decoder_config
from ownlm.model.memory import KVShape
from ownlm.model.safetensors import Tensor


def test_grouped_heads_count_once() -> None:
    shape = KVShape.of(decoder_config({"model_type": "llama", "num_key_value_heads": 8, "num_hidden_layers": 16}, "m"))
    assert shape == KVShape(16, 8, 128)
    assert shape.bytes(4096) == 2 * 16 * 8 * 128 * 4096 * 2
    assert shape.bytes(1, 3, cache_format="f32") == 3 * 2 * 16 * 8 * 128 * 16 * 4  # a block is the least


def test_a_window_saves_no_memory() -> None:
    """Every layer keeps every token."""
    with_window, without = (
        KVShape.of(decoder_config({"model_type": "mistral", "sliding_window": window}, "m")) for window in (16, None)
    )
    assert with_window == without


def test_weights_by_format() -> None:
    tensors = {
        "a": Tensor("a", "F32", np.zeros((3, 32), np.float32)),
        "b": Tensor("b", "U8", np.zeros((4, 36), np.uint8), "q4_0"),
        "c": Tensor("c", "BF16", np.zeros(5, np.uint16)),
    }
    assert memory.weight_bytes(tensors) == {"f32": 384, "q4_0": 144, "bf16": 10}
    assert memory.parameters(tensors) == 96 + 4 * 64 + 5


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    memory.check("m", 10, 10, 99, there=30, reserve=10)
    with pytest.raises(
        InvalidSetting, match=r"needs 9\.00 GB \(weights 5\.00, cache for 99 tokens 3\.00.*8\.00 GB of"
    ) as e:
        memory.check("m", 5 * 10**9, 3 * 10**9, 99, there=8 * 10**9, reserve=10**9)
    assert "smaller context" in str(e.value)
    with pytest.raises(InvalidSetting) as e:
        memory.check("m", 10**12, 0, 99, there=10**9)
    assert "smaller context" not in str(e.value)


def test_a_container_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("info", "MemAvailable: 1000 kB\n"), ("max", "500000"), ("now", "200000"),
                       ("stat", "anon 5\ninactive_file 50000\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "info")
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path / "max", tmp_path / "now", tmp_path / "stat"),))
    assert memory.available() == 350000
    (tmp_path / "max").write_text("max\n")
    assert memory.available() == 1024000

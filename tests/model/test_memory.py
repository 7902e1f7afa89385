"""Bytes counted by hand, and the refusal of what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.model import memory
from ownlm.model.memory import KVShape
from ownlm.model.safetensors import Tensor

LLAMA = {"num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 2048}


def test_grouped_heads_count_once() -> None:
    assert KVShape.of(LLAMA) == KVShape(8, 64, (None,) * 16)
    assert KVShape.of(LLAMA).bytes(4096, value_bytes=2) == 2 * 16 * 8 * 64 * 4096 * 2
    assert KVShape.of(LLAMA).bytes(1, 3) == 3 * 2 * 16 * 8 * 64 * 16 * 4  # a block is the least
    assert KVShape.of({"text_config": LLAMA}) == KVShape.of(LLAMA)
    assert KVShape.of({"n_layer": 2, "n_head": 4, "n_embd": 64}) == KVShape(4, 16, (None, None))


@pytest.mark.parametrize(
    ("extra", "windows"),
    [
        ({"model_type": "mistral", "sliding_window": 64}, [64, 64, 64]),
        ({"model_type": "mistral", "sliding_window": None}, [None] * 3),
        ({"model_type": "gemma2", "sliding_window": 64}, [64, None, 64]),
        ({"model_type": "gemma3_text", "sliding_window": 64, "sliding_window_pattern": 2}, [64, None, 64]),
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": False}, [None] * 3),
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": True, "max_window_layers": 2},
         [None, None, 64]),
        ({"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
         [None, 64, None]),
    ],
)  # fmt: skip
def test_windows_by_family(extra: dict[str, object], windows: list[int | None]) -> None:
    shape = KVShape.of({**LLAMA, "num_hidden_layers": 3, **extra})
    assert shape.windows == tuple(windows)
    tokens = sum(1024 if window is None else 80 for window in windows)
    assert shape.bytes(1024, value_bytes=1) == tokens * 2 * 8 * 64
    assert shape.bytes(32, value_bytes=1) == 3 * 32 * 2 * 8 * 64  # shorter than the window


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


def test_a_config_without_sizes_is_corrupt() -> None:
    with pytest.raises(CorruptModel, match="num_hidden_layers"):
        KVShape.of({})

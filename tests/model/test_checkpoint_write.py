"""Writing a folder's weights, whole or in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ownlm.formats import FORMATS, bfloat16
from ownlm.model import checkpoint
from ownlm.model.safetensors import Tensor


def tensors() -> dict[str, Tensor]:
    w = np.random.default_rng(0).standard_normal((8, 64), dtype=np.float32)
    return {
        "b.f16": Tensor("b.f16", "F16", w.astype("<f2")),
        "a.bf16": Tensor("a.bf16", "BF16", bfloat16.from_float32(w)),
        "c.f32": Tensor("c.f32", "F32", w),
        "d.blocks": Tensor("d.blocks", "U8", FORMATS["q4_0"].quantize(w), "q4_0"),
    }


def test_one_file_and_shards_hold_the_same(tmp_path: Path) -> None:
    for shard_bytes, files in ((10**9, 1), (2100, 3), (1, 4), (10**9, 1)):
        names = checkpoint.write(tmp_path, tensors(), {"format": "pt"}, shard_bytes)
        assert len(names) == files
        (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "ownlm", "format": "q4_0"}}')
        back = checkpoint.load(tmp_path)
        assert len(back.files) == files
        for name, tensor in tensors().items():
            assert (back.tensors[name].dtype, back.tensors[name].format) == (tensor.dtype, tensor.format)
            assert np.array_equal(back.tensors[name].array, tensor.array)
            assert np.array_equal(back.tensors[name].float32(), tensor.float32())

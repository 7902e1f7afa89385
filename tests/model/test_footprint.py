"""What is said beforehand is, to the byte, what the prepared weights and the cache hold."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.formats import mxfp4
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.footprint import footprint
from ownlm.model.gguf.export import export
from ownlm.model.memory import KVShape
from ownlm.model.ops import FORMATS, load, packing
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import ExpertsParams
from ownlm.model.safetensors import write

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, folder, text


def arrays(tree: Any) -> Iterator[Any]:
    """All arrays below a prepared tree."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from arrays(item)
    elif hasattr(tree, "nbytes"):
        yield tree
    elif dataclasses.is_dataclass(tree):
        for field in dataclasses.fields(tree):
            if field.name != "sinks":  # left where they are mapped
                yield from arrays(getattr(tree, field.name))


def held(tree: Any) -> int:
    """Their bytes, of one that is there twice once."""
    return sum({_place(array): int(array.nbytes) for array in arrays(tree)}.values())


def _place(array: Any) -> int:
    return int(array.ctypes.data) if isinstance(array, np.ndarray) else id(array)


def said_and_held(path: Path, ops: str, head: str = "exact") -> tuple[int, int]:
    found = checkpoint.load(path)
    config = decoder_config(found.config(), path)
    prepared = load(ops, head=head).prepare(decoder_params(config, found.tensors))
    return footprint(config, found.tensors, ops, head).weights, held(prepared)


@pytest.mark.parametrize("ops", ["native", "torch"])
@pytest.mark.parametrize("family", EVERY)
def test_every_family(family: str, ops: str) -> None:
    said, there = said_and_held(folder(family), ops)
    assert said == there > 0


@pytest.mark.parametrize("family", ["llama3", "gemma2", "gpt2"])  # a head of its own; and tied, with 8 bits or more
@pytest.mark.parametrize("to", ["f32", "f16", "bf16", "q8_0", "q5_1", "q4_0"])
def test_a_rescored_head(family: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing.rescored, "__defaults__", (1,))
    monkeypatch.setattr("ownlm.model.ops.RESCORE_FROM", 1)
    export(folder(family), tmp_path / "m.gguf", to)
    said, there = said_and_held(tmp_path / "m.gguf", "native", "rescored")
    assert said == there
    assert to == "q4_0" or there != said_and_held(tmp_path / "m.gguf", "native")[1]


@pytest.mark.parametrize("ops", ["native", "torch"])
@pytest.mark.parametrize("family", ["llama3", "phi3", "gpt2", "qwen3_moe", "gpt_oss"])
@pytest.mark.parametrize("to", ["f16", "bf16", "q8_0", "q4_0", "q5_1"])
def test_every_kind_of_format(family: str, ops: str, to: str, tmp_path: Path) -> None:
    export(folder(family), tmp_path / "m.gguf", to)
    said, there = said_and_held(tmp_path / "m.gguf", ops)
    assert said == there


@pytest.mark.parametrize("mixed", [{"*v_proj*": "q8_0"}, {"*k_proj*": "f16", "*up_proj*": "q4_1"}, {"*": "bf16"}])
def test_matrices_that_are_stacked_take_one_format(mixed: dict[str, str], tmp_path: Path) -> None:
    export(folder("llama3"), tmp_path / "m.gguf", "q4_0", mixed)
    said, there = said_and_held(tmp_path / "m.gguf", "native")
    assert said == there


def pairs_of(source: Path, target: Path) -> Path:
    """gpt-oss with its experts in MXFP4 as the Hub keeps them: nibbles and exponents apart."""
    tensors = checkpoint.load(source).tensors
    stored: dict[str, tuple[str, np.ndarray[Any, Any]]] = {}
    for name, tensor in tensors.items():
        if name.endswith(("gate_up_proj", "down_proj")):
            rows = np.ascontiguousarray(tensor.float32().swapaxes(1, 2))
            pairs, exponents = mxfp4.to_pairs(mxfp4.quantize(rows))
            stored |= {f"{name}_blocks": ("U8", pairs), f"{name}_scales": ("U8", exponents)}
        else:
            stored[name] = (tensor.dtype, tensor.array)
    target.mkdir()
    config = json.loads((source / "config.json").read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}
    (target / "config.json").write_text(json.dumps(config))
    write(target / "model.safetensors", stored)
    return target


@pytest.mark.parametrize("ops", ["native", "torch"])
def test_nibbles_and_exponents_apart(ops: str, tmp_path: Path) -> None:
    said, there = said_and_held(pairs_of(folder("gpt_oss"), tmp_path / "m"), ops)
    assert said == there


@pytest.mark.parametrize("family", ["gemma3", "qwen2", "gpt2"])
def test_the_cache(family: str) -> None:
    config = decoder_config(checkpoint.raw_config(folder(family)), "m")
    shape, sizes = KVShape.of(config), (config.num_hidden_layers, config.num_key_value_heads, config.head_dim, 5, 16)
    torch_cache = load("torch").kv_cache(*sizes)
    assert shape.bytes(5 * 16, cache_format="f32") == torch_cache.keys.nbytes + torch_cache.values.nbytes
    for form in FORMATS:
        assert shape.bytes(5 * 16, cache_format=form) == load("native", kv_format=form).kv_cache(*sizes).nbytes
    assert shape.bytes(5 * 16) == NativeOps().kv_cache(*sizes).nbytes


def test_a_model_that_no_memory_holds_is_counted_all_the_same(tmp_path: Path) -> None:
    """70 GB of file without a byte in it."""
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
             "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
    shapes: dict[str, list[int]] = {"model.embed_tokens.weight": [128256, 8192], "lm_head.weight": [128256, 8192],
                                    "model.norm.weight": [8192]}  # fmt: skip
    for layer in range(80):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{name}_proj.weight": [rows, 8192] for name, rows in
                   (("q", 8192), ("k", 1024), ("v", 1024), ("o", 8192))}  # fmt: skip
        shapes |= {f"{at}.mlp.{name}_proj.weight": [28672, 8192] for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": [8192, 28672]}
        shapes |= {f"{at}.{name}_layernorm.weight": [8192] for name in ("input", "post_attention")}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + end)
    config = decoder_config({"model_type": "llama", **sizes}, "m")
    taken = footprint(config, checkpoint.load(tmp_path, verify=False).tensors, "native")
    assert taken.weights == end + 2 * 8192 * (2 * 80 + 1)  # norms are float32, the rest stays
    assert taken.more == 0
    assert footprint(config, checkpoint.load(tmp_path, verify=False).tensors, "torch").weights == 2 * end


def test_blocks_of_experts_are_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    """MXFP4 experts give the logits of the same experts written out in float32."""
    from decoder_support import Forward, relative

    packed = pairs_of(folder("gpt_oss"), tmp_path / "packed")
    (plain := tmp_path / "plain").mkdir()
    (plain / "config.json").write_bytes((folder("gpt_oss") / "config.json").read_bytes())
    stored = {}
    for name, tensor in checkpoint.load(folder("gpt_oss")).tensors.items():
        values = tensor.float32()
        if name.endswith(("gate_up_proj", "down_proj")):
            rows = mxfp4.dequantize(mxfp4.quantize(np.ascontiguousarray(values.swapaxes(1, 2))))
            values = np.ascontiguousarray(rows.swapaxes(1, 2))
        stored[name] = ("F32", values)
    write(plain / "model.safetensors", stored)
    one, other = Forward(packed), Forward(plain)
    assert isinstance(one.params.layers[0].experts, ExpertsParams)
    assert relative(one.run((0, text(1), 0)), other.run((0, text(1), 0))) < 1e-6

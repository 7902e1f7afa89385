"""A planted fault of each kind: the gate finds it and says what it is, and a sound step passes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm import formats, quant
from ownlm.errors import ParityBroken
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.gguf.export import export
from ownlm.model.opened import OpenDecoder
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import DecoderParams, RMSNormWeight
from ownlm.model.safetensors import Tensor
from ownlm.publish import Trained, compare, gate
from ownlm.publish import weights as weights_check

ROWS = [np.random.default_rng(seed).integers(3, 600, 65).tolist() for seed in range(4)]
Weights = Mapping[str, Tensor]


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")


def copied(model: Path, target: Path) -> Path:
    return Path(shutil.copytree(model, target))


def faults(model: Path, candidate: Path, step: str = "export") -> dict[str, str]:
    """By the name of the check, what it says; and the gate refuses, with the same words."""
    report = compare(model, candidate, step=step, rows=ROWS)
    found = {check.name: check.detail for check in report.checks if not check.passed}
    if found:
        with pytest.raises(ParityBroken) as caught:
            gate(model, candidate, step=step, rows=ROWS)
        name, detail = next(iter(found.items()))
        assert str(caught.value).startswith(f"{step} of {candidate.name} broke parity") and detail in str(caught.value)
        assert not (candidate / "parity.json").exists() and name
    return found


def test_a_copy_passes(model: Path, tmp_path: Path) -> None:
    assert faults(model, copied(model, tmp_path / "c")) == {}


@pytest.mark.parametrize(("old", "new"), [("assistant\n", "assistant"), ("<|im_end|>", "<|im_end|> ")])
def test_a_changed_template(model: Path, tmp_path: Path, old: str, new: str) -> None:
    candidate = copied(model, tmp_path / "c")
    path = candidate / "chat_template.jinja"
    path.write_text(path.read_text().replace(old, new))
    found = faults(model, candidate)
    assert found.keys() == {"chat template", "conversation ids"}
    assert found["chat template"] == "'default' is another one" and "'a question': from id" in found["conversation ids"]


def test_a_dropped_template(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")
    (candidate / "chat_template.jinja").unlink()
    assert faults(model, candidate) == {"chat template": "'default' is missing"}


def test_a_dropped_eos(model: Path, tmp_path: Path) -> None:
    """Serving would know this one by its name; other readers only read what the files state."""
    candidate = copied(model, tmp_path / "c")
    change_json(candidate / "generation_config.json", lambda found: found["eos_token_id"].pop(0))
    assert "the files state 0, 2 in the reference, 0 here" in faults(model, candidate)["eos"]


def test_an_eos_that_serving_would_miss(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")

    def plain(found: dict[str, Any]) -> None:
        next(token for token in found["added_tokens"] if token["content"] == "<|im_end|>")["special"] = False

    change_json(candidate / "tokenizer.json", plain)
    change_json(candidate / "tokenizer_config.json", lambda found: found.update(eos_token="<|endoftext|>"))
    change_json(candidate / "generation_config.json", lambda found: found["eos_token_id"].pop(0))
    found = faults(model, candidate)
    assert "'<|im_end|>' (2)" in found["eos"] and "is special only in the reference" in found["vocabulary"]


def test_an_eos_that_a_gguf_file_lost(model: Path, tmp_path: Path) -> None:
    bare = copied(model, tmp_path / "bare")
    (bare / "generation_config.json").unlink()
    change_json(bare / "config.json", lambda found: found.pop("eos_token_id"))
    change_json(bare / "tokenizer_config.json", lambda found: found.pop("eos_token"))
    export(bare, tmp_path / "c.gguf")
    assert "eos" in faults(model, tmp_path / "c.gguf")


def test_another_bos(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")
    first = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    step = {
        "type": "TemplateProcessing", "single": [first, text], "pair": [first, text],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }  # fmt: skip
    change_json(candidate / "tokenizer.json", lambda found: found.update(post_processor=step))
    found = faults(model, candidate)
    assert found["bos"] == "None, around a text [] in the reference, None, around a text [0] here"
    assert "from id 0 on" in found["prompt ids"]


def test_another_vocabulary(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")

    def swap(found: dict[str, Any]) -> None:
        words = found["model"]["vocab"]
        words["a"], words["b"] = words["b"], words["a"]

    change_json(candidate / "tokenizer.json", swap)
    assert "2 tokens differ" in faults(model, candidate)["vocabulary"]


@pytest.mark.parametrize("gguf", [False, True], ids=["folder", "gguf"])
def test_a_wrong_rope_scaling(model: Path, tmp_path: Path, gguf: bool) -> None:
    candidate = copied(model, tmp_path / "c")
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    change_json(candidate / "config.json", lambda found: found.update(rope_parameters=scaled))
    if gguf:
        export(candidate, tmp_path / "c.gguf")
        candidate = tmp_path / "c.gguf"
    found = faults(model, candidate)
    assert found.keys() >= {"rope", "logits"}
    assert "layer 0 turns otherwise: default, base 10000 in the reference, linear" in found["rope"]


def test_another_setting(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")
    change_json(candidate / "config.json", lambda found: found.update(rms_norm_eps=1e-3))
    assert "norm_eps is 1e-06 in the reference, 0.001 here" in faults(model, candidate)["config"]
    change_json(candidate / "config.json", lambda found: found.update(rms_norm_eps=1e-6))
    change_json(candidate / "generation_config.json", lambda found: found.update(top_k=50))
    assert faults(model, candidate) == {"generation settings": "top_k is 20 in the reference, 50 here"}


def test_a_head_of_its_own(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")
    change_json(candidate / "config.json", lambda found: found.update(tie_word_embeddings=False))
    assert "lm_head.weight is missing" in faults(model, candidate)["opening"]
    tensors = dict(checkpoint.load(model).tensors)
    head = tensors["model.embed_tokens.weight"]
    checkpoint.write(candidate, tensors | {"lm_head.weight": Tensor("lm_head.weight", head.dtype, head.array)})
    assert "a matrix of its own here" in faults(model, candidate)["tied head"]


def trained(model: Path, tensors: Weights) -> Trained:
    """As a trainer hands its model over: torch's logits of weights that are in memory."""
    raw = checkpoint.raw_config(model)
    config = decoder_config(raw, model)
    opened = OpenDecoder(sides.load("torch"), config, decoder_params(config, tensors), blocks=16)
    return Trained(folder=model, config=raw, logits=opened.read, tensors=lambda: tensors)


def merged(model: Path, without: str = "") -> dict[str, Tensor]:
    """With an adapter of rank 1 on every projection but one."""
    chance = np.random.default_rng(0)
    found = dict(checkpoint.load(model).tensors)
    for name, tensor in sorted(found.items()):
        if "_proj" in name:
            rows, columns = tensor.shape
            delta = np.outer(chance.normal(size=rows), chance.normal(size=columns)) * 0.004
            if name != without:
                found[name] = Tensor(name, "F32", (tensor.float32() + delta).astype(np.float32))
    return found


def test_a_layer_that_was_not_merged(model: Path, tmp_path: Path) -> None:
    reference, candidate = trained(model, merged(model)), copied(model, tmp_path / "c")
    checkpoint.write(candidate, merged(model))
    report = gate(reference, candidate, step="merge", rows=ROWS)
    assert json.loads((candidate / "parity.json").read_text())["steps"][0]["step"] == report.step == "merge"
    left = "model.layers.1.self_attn.o_proj.weight"
    checkpoint.write(candidate, merged(model, without=left))
    with pytest.raises(ParityBroken, match=rf"^merge of c broke parity.*weights: {left}\[\d+, \d+\] is off by"):
        gate(reference, candidate, step="merge", rows=ROWS)


def test_a_merge_may_be_kept_in_bfloat16(model: Path, tmp_path: Path) -> None:
    from ownlm.formats import bfloat16

    reference, candidate = trained(model, merged(model)), copied(model, tmp_path / "c")
    small = {
        name: Tensor(name, "BF16", bfloat16.from_float32(tensor.float32())) for name, tensor in merged(model).items()
    }
    checkpoint.write(candidate, small)
    assert compare(reference, candidate, step="merge", rows=ROWS).faults == []
    with pytest.raises(ParityBroken, match=r"types: model.embed_tokens.weight is bf16, where export leaves f32"):
        gate(model, candidate, step="export", rows=ROWS)


@pytest.mark.parametrize("to", ["q8_0", "q4_0"])
def test_a_bad_block(model: Path, tmp_path: Path, to: str) -> None:
    """One block of 1,024: too few weights for logits to tell, and found all the same."""
    candidate = tmp_path / "c"
    quant.quantize(model, candidate, to)
    assert faults(model, candidate, to) == {}
    name = "model.layers.1.mlp.up_proj.weight"
    tensors = dict(checkpoint.load(candidate).tensors)
    blocks = tensors[name].array.copy()
    size = formats.FORMATS[to].bytes
    blocks[5, size : size + 2] = np.float16(0.01).reshape(1).view(np.uint8)  # the scale of its second block
    checkpoint.write(candidate, tensors | {name: dataclasses.replace(tensors[name], array=blocks)})
    found = faults(model, candidate, to)
    assert found["weights"].startswith(f"{name}[5, ") and 32 <= int(found["weights"].split(", ")[1].split("]")[0]) < 64


def test_a_rounding_that_is_wrong_does_not_excuse_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate asks the same rounding what it costs, but knows what the format can cost."""
    sound = formats.FORMATS["q4_0"]

    def broken(w: NDArray[np.float32]) -> NDArray[np.uint8]:
        blocks = sound.quantize(w)
        blocks[-1, 2 : sound.bytes] ^= 0x80
        return blocks

    spoiled = MappingProxyType({**formats.FORMATS, "q4_0": dataclasses.replace(sound, quantize=broken)})
    for module in (quant.quantize.__globals__, vars(weights_check)):
        monkeypatch.setitem(module, "FORMATS", spoiled)
    quant.quantize(model, tmp_path / "c", "q4_0")
    assert "is off by" in faults(model, tmp_path / "c", "q4_0")["weights"]


def test_a_changed_byte(model: Path, tmp_path: Path) -> None:
    candidate = copied(model, tmp_path / "c")
    checkpoint.write(candidate, checkpoint.load(model).tensors)
    path = candidate / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert "checksum" in faults(model, candidate)["opening"]


def test_weights_that_an_export_rounded(model: Path, tmp_path: Path) -> None:
    quant.quantize(model, tmp_path / "c", "q8_0")
    assert "is q8_0, where export leaves f32" in faults(model, tmp_path / "c")["types"]


def test_kernels_that_compute_otherwise(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and settings are right: the layer in which serving parts from torch is named."""
    sound = NativeOps.prepare

    def broken(ops: NativeOps, params: DecoderParams) -> DecoderParams:
        layers = list(params.layers)
        if len(layers) > 1:
            norm = layers[1].mlp_norm
            layers[1] = dataclasses.replace(layers[1], mlp_norm=RMSNormWeight(norm.weight * 1.5, norm.eps))
        return sound(ops, dataclasses.replace(params, layers=tuple(layers)))

    monkeypatch.setattr(NativeOps, "prepare", broken)
    found = faults(model, copied(model, tmp_path / "c"))
    assert found.keys() == {"logits"}
    assert "serving computes them otherwise than torch: they part in layer 1 and agree up to layer 0" in found["logits"]

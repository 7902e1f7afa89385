"""Adapters against the library that others use: PEFT loads ours, we load PEFT's, and merged models agree with both."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import save

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel
from ownlm.model import checkpoint, safetensors
from ownlm.quant import quantize
from ownlm.train.batch import Row, collate
from ownlm.train.decoder import Decoder
from ownlm.train.lora import AdapterSettings, adapters, new_adapters, without_adapters
from ownlm.train.merge import write_merged
from ownlm.train.peft_files import load_adapters, read_adapters, write_adapters

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
IDS = np.random.default_rng(4).integers(3, 90, 24)
TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "mixtral": ["q_proj", "k_proj", "v_proj", "o_proj"],
}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FAMILIES = ["llama", "llama_bias", "qwen3", "gemma2", "phi3", "gpt2", "mixtral"]
ODD = ["llama_bias", "phi3", "gpt2"]
"""With biases, split and turned matrices."""


def ours(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model(collate([Row(IDS, np.append(IDS[1:], -100))])).logits()


def theirs(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(torch.from_numpy(IDS)[None]).logits[0]
    return found


def base_of(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def close(one: torch.Tensor, other: torch.Tensor, within: float = 1e-4) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=within)


def moved(model: Decoder, seed: int = 7) -> None:
    """Adapters as training leaves them: not at zero."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for adapter in adapters(model).values():
            adapter.b.normal_(0, 0.1, generator=source)
            if adapter.lengths is not None:
                adapter.lengths.mul_(torch.rand(adapter.lengths.shape, generator=source) + 0.5)


@pytest.mark.parametrize(("family", "dora"), [(f, False) for f in FAMILIES] + [(f, True) for f in ODD])
def test_ours_in_peft_and_merged_everywhere(family: str, dora: bool, tmp_path: Path) -> None:
    folder = save(tmp_path / "base", family)
    model = Decoder.load(folder, frozen=True)
    plain = ours(model)
    new_adapters(model, AdapterSettings(rank=4, alpha=6, dora=dora))
    close(ours(model), plain, 1e-5)  # new adapters change nothing
    assert len(adapters(model)) == 2 * len(TARGETS.get(family, LINEAR)) + 2 * (family == "gpt2")
    moved(model)
    tuned = ours(model)
    assert (tuned - plain).abs().max() > 0.01
    with without_adapters(model):
        close(ours(model), plain, 0)

    write_adapters(model, tmp_path / "adapter", str(folder))
    found = peft.PeftModel.from_pretrained(base_of(folder), tmp_path / "adapter")
    close(theirs(found), tuned)

    write_merged(model, tmp_path / "merged")
    for name in ("config.json", "generation_config.json"):
        if not (tmp_path / "merged" / name).is_file():
            shutil.copyfile(folder / name, tmp_path / "merged" / name)
    close(ours(Decoder.load(tmp_path / "merged")), tuned)
    close(theirs(base_of(tmp_path / "merged")), tuned)
    close(theirs(found.merge_and_unload()), tuned)

    again = Decoder.load(folder, frozen=True)
    load_adapters(again, tmp_path / "adapter")
    close(ours(again), tuned, 1e-6)


@pytest.mark.parametrize(
    ("family", "settings"),
    [(f, {}) for f in FAMILIES] + [(f, {"use_dora": True}) for f in ODD] + [("llama", {"use_rslora": True})],
)
def test_theirs_in_ours(family: str, settings: dict[str, Any], tmp_path: Path) -> None:
    folder = save(tmp_path / "base", family)
    targets = TARGETS.get(family, LINEAR)
    torch.manual_seed(3)
    config = peft.LoraConfig(
        r=4, lora_alpha=7, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM",
        rank_pattern={targets[0]: 2}, alpha_pattern={f"1.*{targets[1]}": 3}, **settings,
    )  # fmt: skip
    made = peft.get_peft_model(base_of(folder), config)
    made.save_pretrained(tmp_path / "adapter")
    wanted = theirs(made)
    model = Decoder.load(folder, frozen=True)
    load_adapters(model, tmp_path / "adapter")
    close(ours(model), wanted)
    assert {adapter.rank for adapter in adapters(model).values()} == {2, 4}
    write_adapters(model, tmp_path / "again", str(folder))
    found = peft.PeftModel.from_pretrained(base_of(folder), tmp_path / "again")
    close(theirs(found), wanted)


@pytest.mark.parametrize(("family", "to"), [("qwen3", "q4_0"), ("qwen3", "q8_0"), ("gpt2", "q4_0")])
def test_over_a_quantized_base(family: str, to: str, tmp_path: Path) -> None:
    quantize(save(tmp_path / "base", family), tmp_path / "small", to)
    whole = Decoder.load(tmp_path / "small", frozen=False)  # the same values as float32
    model = Decoder.load(tmp_path / "small", frozen=True)
    close(ours(model), ours(whole), 1e-5)
    for each in (model, whole):
        new_adapters(each, AdapterSettings(rank=4, dora=family == "gpt2"))
        moved(each)
        batch = collate([Row(IDS, np.append(IDS[1:], -100))])
        (each(batch).logits()[:, 5].sum()).backward()
    close(ours(model), ours(whole), 1e-5)
    for name, one in adapters(model).items():
        other = adapters(whole)[name]
        for mine, its in zip(one.parameters(), other.parameters(), strict=True):
            assert mine.grad is not None
            close(mine.grad, its.grad, 1e-4 * float(its.grad.abs().max()))
    assert sum(part.numel() for part in model.parameters() if part.requires_grad) == sum(
        part.numel() for one in adapters(model).values() for part in one.parameters()
    )
    tuned = ours(model)
    write_merged(model, tmp_path / "merged")
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    found = checkpoint.load(tmp_path / "merged")
    assert {tensor.dtype for tensor in found.tensors.values()} == {"F32"}
    close(ours(Decoder.load(tmp_path / "merged")), tuned)
    close(theirs(base_of(tmp_path / "merged")), tuned)


def test_over_a_bfloat16_base(tmp_path: Path) -> None:
    folder = save(tmp_path / "base", "qwen3")
    base_of(folder).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    model = Decoder.load(tmp_path / "half", frozen=True)
    assert any(part.dtype == torch.bfloat16 for part in model.parameters())
    close(ours(model), theirs(base_of(tmp_path / "half")), 1e-4)  # its weights, computed with in float32
    new_adapters(model, AdapterSettings(rank=4))
    moved(model)
    tuned = ours(model)
    write_merged(model, tmp_path / "merged")
    found = checkpoint.load(tmp_path / "merged")
    assert found.tensors["model.layers.0.mlp.up_proj.weight"].dtype == "BF16"
    close(ours(Decoder.load(tmp_path / "merged")), tuned, 0.05)  # what is stored has 8 bits


def change(folder: Path, **settings: Any) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    folder = save(tmp_path / "base", "llama")
    model = Decoder.load(folder, frozen=True)
    new_adapters(model, AdapterSettings(rank=2))
    write_adapters(model, tmp_path / "adapter", str(folder))
    return folder, tmp_path / "adapter"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
)
def test_adapters_that_would_be_another_model_are_refused(
    settings: dict[str, Any], said: str, written: tuple[Path, Path]
) -> None:
    with pytest.raises(UnsupportedModel, match=said):
        read_adapters(change(written[1], **settings))


def test_files_that_do_not_fit_are_named(written: tuple[Path, Path], tmp_path: Path) -> None:
    folder, adapter = written
    with pytest.raises(CorruptModel, match="use_dora is True"):
        read_adapters(change(adapter, use_dora=True))
    with pytest.raises(CorruptModel, match="no number lora_alpha"):
        read_adapters(change(adapter, use_dora=False, lora_alpha=None))
    change(adapter, lora_alpha=4)
    other = Decoder.load(save(tmp_path / "other", "llama", hidden_size=32), frozen=True)
    with pytest.raises(CorruptModel, match=r"down_proj is 64 x 96 there, 32 x 96 here"):
        load_adapters(other, adapter)
    with pytest.raises(CorruptModel, match="no linear layer transformer"):
        name = "base_model.model.transformer.h.0.attn.c_attn"
        parts = {"A": (2, 64), "B": (192, 2)}
        tensors = {f"{name}.lora_{part}.weight": ("F32", np.ones(shape, np.float32)) for part, shape in parts.items()}
        safetensors.write(adapter / "adapter_model.safetensors", tensors)
        load_adapters(Decoder.load(folder, frozen=True), adapter)
    safetensors.write(adapter / "adapter_model.safetensors", {"lm_head.weight": ("F32", np.ones((2, 2), np.float32))})
    with pytest.raises(UnsupportedModel, match=r"tensor lm_head\.weight"):
        read_adapters(adapter)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(NotFound, match="safetensors"):
        read_adapters(adapter)
    with pytest.raises(NotFound, match="adapter_config"):
        read_adapters(tmp_path)


def published(name: str) -> Path:
    path = Path(os.environ.get("OWNLM_DATA", "/nowhere")) / "weights" / name
    if not path.is_file():
        pytest.skip("OWNLM_DATA has no weights")
    return path


def test_an_adapter_that_trl_made(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    shutil.copyfile(published("trl_kto_lora_adapter_model.safetensors"), folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"task_type": "CAUSAL_LM", "bias": "none"}))
    sizes = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": 32}
    base = save(tmp_path / "base", "gpt2", **sizes)
    calm = base_of(base)
    for parameter in calm.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    calm.save_pretrained(base)
    plain = theirs(calm)
    model = Decoder.load(base, frozen=True)
    load_adapters(model, folder)
    assert len(adapters(model)) == 12
    wanted = theirs(peft.PeftModel.from_pretrained(calm, folder))
    close(ours(model), wanted)
    assert (wanted - plain).abs().max() > 0.1


def test_an_adapter_that_mlx_made(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    shutil.copyfile(published("mlx_dpo_lora_adapters.safetensors"), folder / "adapters.safetensors")
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 10.0, "dropout": 0.0}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    found = read_adapters(folder)
    assert sorted(found) == [f"model.layers.{n}.self_attn.{part}_proj" for n in (22, 23) for part in "qv"]
    one = found["model.layers.22.self_attn.v_proj"]
    assert (one.a.shape, one.b.shape, one.scaling) == ((8, 896), (128, 8), 10.0)
    raw = safetensors.read(folder / "adapters.safetensors").tensors
    x = np.random.default_rng(0).normal(size=896).astype(np.float32)
    a, b = (raw[f"model.layers.22.self_attn.v_proj.lora_{part}"].array for part in "ab")
    there = x @ a @ b
    np.testing.assert_allclose(one.b @ (one.a @ x), there, rtol=1e-4, atol=1e-6)

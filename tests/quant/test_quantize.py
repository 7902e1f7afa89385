"""Quantizing a model: what is written, what is kept, what the receipt says, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from ownlm.cli import main
from ownlm.errors import InvalidSetting, UnsupportedModel
from ownlm.model import checkpoint
from ownlm.quant import measure, quantize
from ownlm.quant.receipt import receipt_path

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parents[1] / "model"))
sys.path.append(str(Path(__file__).parents[1]))
from tiny_families import save

TEXT = "The-gate-is-green,-and-the-gate-is-open." * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(save(tmp_path_factory.mktemp("llama"), "llama", vocab_size=128))


def with_tokenizer(folder: Path, size: int = 128) -> Path:
    """A tokenizer of single bytes, of ``size`` of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[:size]
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "LICENSE").write_text("MIT")
    (folder / "modeling.py").write_text("raise SystemExit")
    return folder


@pytest.mark.parametrize("to", ["q8_0", "q4_0"])
def test_a_folder_describes_itself(folder: Path, tmp_path: Path, to: str) -> None:
    target = tmp_path / "made" / "m"
    quantize(folder, target, to)
    found = checkpoint.load(target)
    formats = {name: tensor.format for name, tensor in found.tensors.items()}
    assert formats["model.layers.0.self_attn.q_proj.weight"] == to
    assert formats["model.embed_tokens.weight"] == formats["lm_head.weight"] == "q8_0"
    assert formats["model.norm.weight"] == ""
    stated = json.loads((target / "config.json").read_text())["quantization_config"]
    assert (stated["quant_method"], stated["format"]) == ("ownlm", to)
    assert sorted(path.name for path in target.iterdir()) == [
        "LICENSE", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert [path.name for path in target.parent.iterdir()] == ["m"]


def test_the_receipt_tells_4_bits_from_8(folder: Path, tmp_path: Path) -> None:
    receipts = {}
    for to in ("q8_0", "q4_0"):
        quantize(folder, tmp_path / to, to)
        receipts[to] = measure(folder, tmp_path / to, to, text=TEXT, ops="torch")
    eight, four = receipts["q8_0"], receipts["q4_0"]
    assert 0 < eight.mean_kl < four.mean_kl
    assert four.bytes_after < eight.bytes_after < eight.bytes_before == four.bytes_before
    assert eight.top1_agreement > 0.9 and four.tokens == len(TEXT.encode()) - 1
    assert math.isclose(four.perplexity_ratio, four.perplexity_after / four.perplexity_before, rel_tol=1e-9)


def test_a_model_loses_nothing_against_itself(folder: Path) -> None:
    receipt = measure(folder, folder, "f32", text=TEXT, ops="torch")
    assert (receipt.mean_kl, receipt.top1_agreement, receipt.perplexity_ratio) == (0.0, 1.0, 1.0)


def test_perplexity_is_that_of_transformers(folder: Path) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = [0, 5, 9, 77, 3, 3, 8]
    text = "".join(sorted(__import__("tokenizers").pre_tokenizers.ByteLevel.alphabet())[id_] for id_ in ids)
    with torch.no_grad():
        loss = float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    assert math.isclose(
        measure(folder, folder, "f32", text=text, ops="torch").perplexity_before, math.exp(loss), rel_tol=1e-4
    )


@pytest.mark.parametrize("family", ["gpt_oss", "gpt2", "qwen3_moe", "phi3", "gemma3"])
def test_families_with_other_layouts_come_back(family: str, tmp_path: Path) -> None:
    """Rows of blocks where the checkpoint has columns: the same logits as the rounded weights give."""
    from ownlm.model.decoder_families import decoder_config
    from ownlm.model.decoder_weights import decoder_params
    from ownlm.model.ops import load

    changes = {"intermediate_size": 64} if family not in ("gpt2", "qwen3_moe") else {}
    source = save(tmp_path / "source", family, **changes)
    quantize(source, tmp_path / "q", "q8_0")
    ops, plain = load("torch"), checkpoint.load(source)
    found = checkpoint.load(tmp_path / "q")
    kept, made = (
        ops.prepare(decoder_params(decoder_config(each.config(), "m"), each.tensors)) for each in (plain, found)
    )
    first, second = kept.layers[0], made.layers[0]
    pairs = [(first.qkv, second.qkv), (first.attention_output, second.attention_output)]
    if first.experts is not None:
        pairs += [
            (first.experts.gate_up[1], second.experts.gate_up[1]),
            (first.experts.down[1], second.experts.down[1]),
        ]
    else:
        pairs += [(first.mlp_in, second.mlp_in), (first.mlp_out, second.mlp_out)]
    for one, other in pairs:
        assert float((one.weight - other.weight).abs().max()) < 0.02
    assert any(tensor.format for tensor in found.tensors.values())


def test_a_gguf_file_carries_its_receipt_beside_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m-q4_0.gguf"
    quantize(folder, target, "q4_0")
    assert {"q4_0", "q8_0"} <= {tensor.format for tensor in checkpoint.load(target).tensors.values()}
    measure(folder, target, "q4_0", text=TEXT, ops="torch").write(target)
    assert receipt_path(target) == tmp_path / "m-q4_0.receipt.json"
    assert main(["show", str(target)]) == 0
    assert "receipt: mean_kl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("to", "target", "names"),
    [("q3", "m", "--to is 'q3'"), ("q8_0", "there", "--out .*there already")],
)
def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path, to: str, target: str, names: str) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidSetting, match=names):
        quantize(folder, tmp_path / target, to)


def test_once_is_enough(folder: Path, tmp_path: Path) -> None:
    quantize(folder, tmp_path / "once", "q8_0")
    with pytest.raises(InvalidSetting, match=r"quantized already \(q8_0\)"):
        quantize(tmp_path / "once", tmp_path / "twice", "q4_0")
    assert not (tmp_path / "twice").exists()


def test_another_tools_layout_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for path in folder.iterdir():
        (tmp_path / "m" / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="quant_method is 'gptq'"):
        quantize(tmp_path / "m", tmp_path / "q", "q4_0")


def test_weights_that_cannot_be_rounded_leave_nothing(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    (tmp_path / "m").mkdir()
    for path in folder.iterdir():
        (tmp_path / "m" / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = np.nan
    save_file(tensors, tmp_path / "m" / "model.safetensors")
    from ownlm.errors import CorruptModel

    with pytest.raises(CorruptModel, match="up_proj"):
        quantize(tmp_path / "m", tmp_path / "q", "q4_0")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_command_end_to_end(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the kernels that serve, on a text of one's own; and what is asked wrongly is one line."""
    (tmp_path / "text.txt").write_text(TEXT)
    target = tmp_path / "m-q8_0"
    words = ["quantize", str(folder), "--to", "q8_0", "--out", str(target)]
    assert main([*words, "--text", str(tmp_path / "text.txt")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(str(target)) and "mean KL" in out and "same top 1" in out
    assert json.loads((target / "receipt.json").read_text())["tokens"] == len(TEXT) - 1
    assert main(words) == 2 and "there already" in capsys.readouterr().err
    assert main([*words[:4], "--gguf", "--out", str(tmp_path / "x")]) == 2 and "--gguf" in capsys.readouterr().err
    assert main([*words, "--text", str(tmp_path / "none.txt")]) == 2 and "--text" in capsys.readouterr().err
    assert main(["quantize", str(folder), "--to", "q2"]) == 2 and "--to" in capsys.readouterr().err

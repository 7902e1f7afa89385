"""What `ownlm export` writes is read by transformers, by the library gguf and by us, and is the same model to all."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_worded import TEMPLATE, write

from ownlm import quant
from ownlm.cli import main
from ownlm.errors import DiskFull, OwnLMError, ParityBroken
from ownlm.model import checkpoint
from ownlm.model.opened import open_to_read
from ownlm.publish import steps, thresholds
from ownlm.publish.report import read
from ownlm.publish.staging import staged
from ownlm.tokenizer import ChatTemplate, Tokenizer

IDS = np.random.default_rng(0).integers(3, 600, 60).astype(np.int32)
TEXT = "The gate is green, and the gate is open. " * 30


def transformers_logits(folder: Path) -> np.ndarray:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        found: np.ndarray = model(torch.tensor(IDS[None].astype(np.int64))).logits[0].numpy()
    return found


def ours(model: Path) -> np.ndarray:
    return open_to_read(model, checkpoint.load(model), "torch").read(IDS)


@pytest.mark.parametrize(("dtype", "stored"), [(None, "F32"), ("bf16", "BF16"), ("f16", "F16")])
def test_transformers_reads_a_folder(model: Path, tmp_path: Path, dtype: str | None, stored: str) -> None:
    import transformers

    target = tmp_path / "made" / "m"
    steps.export(model, target, dtype=dtype, text=TEXT)
    assert checkpoint.load(target).tensors["model.layers.0.mlp.up_proj.weight"].dtype == stored
    assert np.abs(transformers_logits(target) - ours(target)).max() < 1e-3
    if dtype is None:
        assert np.abs(transformers_logits(target) - transformers_logits(model)).max() == 0
    theirs = transformers.AutoTokenizer.from_pretrained(target)
    messages = [{"role": "user", "content": "Hello, world"}]
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == ChatTemplate.load(target).render(messages).ids
    generation = transformers.GenerationConfig.from_pretrained(target)
    assert set(generation.eos_token_id) == Tokenizer.load(target).eos_ids
    config = transformers.AutoConfig.from_pretrained(target)
    assert (config.architectures, config.model_type) == (["Qwen3ForCausalLM"], "qwen3")


@pytest.mark.parametrize("family", ["gpt2", "gpt_oss"])
def test_blocks_become_numbers_that_transformers_reads(tmp_path: Path, family: str) -> None:
    """Families whose checkpoints have columns where blocks are rows: there and back."""
    changes = {} if family == "gpt2" else {"intermediate_size": 64}
    source = write(tmp_path / "m", family, **changes)
    steps.quantize(source, tmp_path / "q", "q8_0", text=TEXT)
    steps.export(tmp_path / "q", tmp_path / "plain", text=TEXT)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "float32"
    theirs = transformers_logits(tmp_path / "plain")
    assert np.abs(theirs - ours(tmp_path / "q")).max() < 1e-3 * np.abs(theirs).max()
    parity = json.loads((tmp_path / "plain" / "parity.json").read_text())
    assert [step["step"] for step in parity["steps"]] == ["q8_0", "export"]  # what came before goes along


@pytest.mark.parametrize("quantize", [None, "q8_0", "q4_0", "q6_k"])
def test_the_library_gguf_reads_a_file(tmp_path: Path, quantize: str | None) -> None:
    gguf = pytest.importorskip("gguf")
    source = write(tmp_path / "m", hidden_size=256, intermediate_size=256)
    target = tmp_path / "m.gguf"
    words = ["--quantize", quantize] if quantize else []
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(["export", str(source), str(target), "--text", str(tmp_path / "text.txt"), *words]) == 0
    read = gguf.GGUFReader(target)
    tensors = {tensor.name: tensor for tensor in read.tensors}
    kept = tensors["blk.0.ffn_up.weight"]
    assert kept.tensor_type.name.lower() == (quantize or "f32")
    values = gguf.quants.dequantize(kept.data, kept.tensor_type)
    found = checkpoint.load(target).tensors["model.layers.0.mlp.up_proj.weight"].float32()
    assert np.array_equal(values, found)
    said = {name: read.fields[name].contents() for name in read.fields}
    assert said["tokenizer.chat_template"] == TEMPLATE
    ends = [said[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot")]
    assert ends == [2, 0] and said["general.sampling.top_k"] == 20
    assert (tmp_path / "m.parity.json").is_file() and (tmp_path / "m.receipt.json").is_file() == bool(quantize)


def test_named_templates_go_along(tmp_path: Path) -> None:
    source = write(tmp_path / "m")
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "tool_use.jinja").write_text(TEMPLATE + " ")
    for target in (tmp_path / "x", tmp_path / "x.gguf"):
        steps.export(source, target, text=TEXT)
    found = checkpoint.load(tmp_path / "x.gguf").tokenizer
    assert found is not None
    assert ChatTemplate.load(tmp_path / "x").templates == ChatTemplate.from_gguf(found).templates
    assert ChatTemplate.load(tmp_path / "x").templates["tool_use"] == TEMPLATE + " "


def test_show_tells_of_the_gate(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "q"
    assert main(["quantize", str(model), "--to", "q4_0", "--out", str(target)]) == 0
    assert "parity       vocabulary, bos, eos" in capsys.readouterr().out
    assert main(["show", str(target)]) == 0
    out = capsys.readouterr().out
    assert "parity                       q4_0 of m\n" in out and "parity: rope" in out and "mean KL" in out
    assert main(["show", str(target), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parity"]["passed"] and found["parity_holds"] and found["parity"]["reference_ops"] == "torch"
    tensors = dict(checkpoint.load(target).tensors)
    tensors["model.norm.weight"] = tensors["model.layers.0.input_layernorm.weight"]
    checkpoint.write(target, tensors)
    assert main(["show", str(target)]) == 0
    assert "the weights have changed since" in capsys.readouterr().out


def test_what_breaks_is_not_published(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = steps.folder.write

    def forgetful(source: Path, target: Path, dtype: str | None = None) -> None:
        sound(source, target, dtype)
        (target / "generation_config.json").unlink()

    monkeypatch.setattr(steps.folder, "write", forgetful)
    assert main(["export", str(model), str(tmp_path / "c")]) == 1
    said = capsys.readouterr()
    assert "export of c broke parity, so it is not published: eos: " in said.err and not said.out
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ParityBroken):
        steps.export(model, tmp_path / "c", text=TEXT)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_is_left_of_what_was_interrupted(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "m") as made:
        made.mkdir()
        (made / "half").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"m: no room is left"), staged(tmp_path / "m") as made:
        made.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["x", "--format", "gguf"], "TARGET is .*ends in .gguf"),
        (["x.gguf", "--format", "hf"], "TARGET is .*does not end in .gguf"),
        (["x", "--format", "onnx"], "--format is 'onnx'"),
        (["x", "--quantize", "q4_k"], "--quantize is 'q4_k': give one of q8_0, q4_0"),
        (["x.gguf", "--quantize", "q1"], "--quantize is 'q1'"),
        (["x", "--dtype", "f8"], "--dtype is 'f8'"),
        (["x", "--dtype", "bf16", "--quantize", "q8_0"], "--dtype is 'bf16': --quantize q8_0 says"),
        (["there"], "TARGET is .*there already"),
        (["x", "--text", "none"], "--text is 'none'"),
        (["there/file/x"], "TARGET is .*nothing can be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(
    model: Path, tmp_path: Path, words: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    assert main(["export", str(model), str(tmp_path / words[0]), *words[1:]]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ownlm:")]
    assert len(lines) == 1 and re.search(names, lines[0])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_rounded_once(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quant.quantize(model, tmp_path / "q", "q8_0")
    assert main(["export", str(tmp_path / "q"), str(tmp_path / "x.gguf"), "--quantize", "q4_0"]) == 2
    assert "quantized already (q8_0)" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "q")
    assert not list(tmp_path.iterdir())


def test_without_torch_serving_is_compared_with_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The light installation: the report says which arithmetic stood for the reference."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    report = steps.export(model, tmp_path / "x", text=TEXT)
    assert report.reference_ops == "native" and report.agreement is not None and report.agreement.mean_kl == 0


def test_without_kernels_torch_stands_for_serving(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a borrowed machine the package runs from its source; the report says that serving was not compared."""

    def missing() -> None:
        raise OwnLMError("the native kernels cannot be loaded")

    monkeypatch.setattr("ownlm.native.isas", missing)
    report = steps.export(model, tmp_path / "x", text=TEXT)
    assert (report.reference_ops, report.candidate_ops) == ("torch", "torch") and report.faults == []


def test_a_model_that_loses_too_much_is_told_so(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = thresholds.Limits("4 bits", 1e-6, 1.0, 0.4)
    monkeypatch.setattr(thresholds, "_FOUR", strict)
    assert main(["quantize", str(model), "--to", "q4_0", "--out", str(tmp_path / "q")]) == 1
    said = capsys.readouterr().err
    assert "every weight is what q4_0 makes of it, so the model loses too much: take a larger format" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 3}', '{"steps": [4]}', '{"steps": [{"checks": [1, {}]}]}'])
def test_a_report_that_is_none_is_no_obstacle(model: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(model, tmp_path / "m")
    (tmp_path / "m" / "parity.json").write_text(text)
    assert main(["show", str(tmp_path / "m")]) == 0
    assert read(tmp_path / "m") == []

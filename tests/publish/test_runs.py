"""What the trainer has in memory, with adapters and rounding, against what it leaves to be served."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "train"))
import tiny_run
from tiny_worded import write

from ownlm import quant
from ownlm.cli import main
from ownlm.errors import ParityBroken
from ownlm.model import checkpoint
from ownlm.publish import gate
from ownlm.publish.parity import FEWEST
from ownlm.publish.runs import ASIDE, held_out, judge, of_decoder
from ownlm.train.decoder import Decoder
from ownlm.train.lora import Adapted, AdapterSettings, adapters, new_adapters
from ownlm.train.merge import write_merged
from ownlm.train.peft_files import write_adapters
from ownlm.train.qat import quantize_aware
from ownlm.train.trainer import Trainer

torch.set_num_threads(1)
ROWS = [np.random.default_rng(seed).integers(3, 600, 65).tolist() for seed in range(3)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(tiny_run.recipe(tiny_run.shards(folder / "shards")), folder / "out")
    trainer.run()
    return trainer


def test_a_run_is_judged_on_rows_that_it_did_not_learn(run: Trainer) -> None:
    report = judge(run)
    assert report is not None
    assert report.faults == [] and report.reference_ops == "trainer" and report.candidate_ops == "native"
    rows = held_out(run.data.valid)
    assert rows and report.text == f"{len(rows)} held-out rows" and report.agreement is not None
    assert report.agreement.tokens == sum(len(row) - 1 for row in rows) >= FEWEST
    assert json.loads((run.out / "model" / "parity.json").read_text())["steps"][-1]["passed"]


def test_weights_that_were_not_averaged_are_found(run: Trainer) -> None:
    """The folder has the moving average of the weights; the last step's are others."""
    with pytest.raises(ParityBroken, match=r"train of model broke parity.*weights: model"):
        gate(of_decoder(run.model, run.recipe.model.tokenizer), run.out / "model", step="train")  # type: ignore[union-attr]


def test_a_model_that_does_not_pass_is_moved_aside(tmp_path: Path) -> None:
    trainer = Trainer(tiny_run.recipe(tiny_run.shards(tmp_path / "shards")), tmp_path / "out")
    trainer.run()
    (trainer.out / "model" / "generation_config.json").unlink()
    with pytest.raises(
        ParityBroken, match="train of model broke parity, so it is not published: generation settings: eos_token_id"
    ):
        judge(trainer)
    assert not (trainer.out / "model").exists() and (trainer.out / ASIDE / "config.json").is_file()


@pytest.mark.parametrize(("dora", "rounded"), [(False, False), (True, False), (False, True)])
def test_adapters_merged(model: Path, tmp_path: Path, dora: bool, rounded: bool) -> None:
    tuned = adapted(model, dora=dora)
    if rounded:  # of a base and its adapter the rounded sum is written
        quantize_aware(tuned, "q4_0")
    merged = tmp_path / "merged"
    merged.mkdir()
    write_merged(tuned, merged)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (merged / name).write_bytes((model / name).read_bytes())
    assert gate(of_decoder(tuned, model), merged, step="merge", rows=ROWS).faults == []
    first = next(part for part in tuned.modules() if isinstance(part, Adapted))
    first.enabled = False  # one projection is left as it was
    write_merged(tuned, merged)
    first.enabled = True
    with pytest.raises(ParityBroken, match=rf"merge of merged broke parity.*{first.base.name}"):
        gate(of_decoder(tuned, model), merged, step="merge", rows=ROWS)


def adapted(model: Path, *, dora: bool = False) -> Decoder:
    """With adapters as training leaves them."""
    tuned = Decoder.load(model, frozen=True)
    new_adapters(tuned, AdapterSettings(rank=2, alpha=4, dora=dora))
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for adapter in adapters(tuned).values():
            adapter.b.normal_(0, 0.02, generator=source)
    return tuned


def test_quantization_that_was_trained_for_is_exact(tmp_path: Path) -> None:
    """The weights that the last steps computed with are, byte for byte, those that are served in 4 bits."""
    source = write(tmp_path / "m", hidden_size=64, intermediate_size=96)
    trained = Decoder.load(source)
    quantize_aware(trained, "q4_0")
    assert gate(of_decoder(trained, source), source, step="train", rows=ROWS).faults == []  # as they are stored
    quant.quantize(source, tmp_path / "q", "q4_0")
    report = gate(of_decoder(trained, source, to="q4_0"), tmp_path / "q", step="train", rows=ROWS)
    assert report.limits.kind == "exact, over blocks"
    assert report.agreement is not None and report.agreement.mean_kl < 0.01
    quant.quantize(source, tmp_path / "other", "q8_0")
    with pytest.raises(ParityBroken, match=r"weights: model.layers"):
        gate(of_decoder(trained, source, to="q4_0"), tmp_path / "other", step="train", rows=ROWS)


def test_export_merges_an_adapter_first(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = adapted(model)
    write_adapters(tuned, tmp_path / "adapter", "base")
    (tmp_path / "text.txt").write_text("The gate is green. " * 40)
    words = ["--adapter", str(tmp_path / "adapter"), "--text", str(tmp_path / "text.txt")]
    target = tmp_path / "x-q8_0.gguf"
    assert main(["export", str(model), str(target), "--quantize", "q8_0", *words]) == 0
    found = json.loads((tmp_path / "x-q8_0.parity.json").read_text())
    assert [step["step"] for step in found["steps"]] == ["merge", "q8_0"]
    assert sorted(path.name for path in tmp_path.glob("x*")) == [
        "x-q8_0.gguf", "x-q8_0.parity.json", "x-q8_0.receipt.json",
    ]  # fmt: skip
    merged = checkpoint.load(target).tensors["model.layers.0.mlp.up_proj.weight"].float32()
    base = checkpoint.load(model).tensors["model.layers.0.mlp.up_proj.weight"].float32()
    assert np.abs(merged - base).max() > 0.01
    assert main(["export", str(model), str(tmp_path / "y"), "--adapter", str(tmp_path / "none")]) == 2
    assert "adapter_config.json" in capsys.readouterr().err and not (tmp_path / "y").exists()

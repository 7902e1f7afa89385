"""Adapters in the one training loop: a run that was stopped goes on to the same losses; checkpoints are small."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path += [str(Path(__file__).parents[1] / "model"), str(Path(__file__).parent)]
from tiny_families import save
from tuning_support import TALK, write_lines, write_tokenizer

from ownlm.errors import CorruptModel
from ownlm.model import safetensors
from ownlm.quant import quantize
from ownlm.train.chat_data import Chats
from ownlm.train.lora import AdapterSettings, adapters
from ownlm.train.merge import Adapters
from ownlm.train.metrics import MetricsFile, read_history
from ownlm.train.optim import OptimizerSettings
from ownlm.train.qat import QuantizationAware
from ownlm.train.recipe import Base, Recipe
from ownlm.train.schedule import Schedule
from ownlm.train.state import restore, weights
from ownlm.train.trainer import Trainer, train

torch.set_num_threads(1)
ROWS = [{"messages": [*TALK[:1], {"role": "assistant", "content": f"it is {n}"}]} for n in range(12)]


class Listening:
    """Keeps losses; stops the run after a step, as Ctrl-C does."""

    def __init__(self, last: int = 99) -> None:
        self.last, self.losses = last, list[float]()

    def on_start(self, run: Any) -> None: ...

    def on_step(self, metrics: dict[str, Any]) -> None:
        self.losses.append(metrics["loss"])
        if len(self.losses) == self.last:
            raise KeyboardInterrupt

    def on_end(self, result: dict[str, Any]) -> None: ...


def recipe_over(folder: Path) -> Recipe:
    return Recipe(
        name="t",
        model=Base(folder / "base", frozen=True),
        data=Chats((folder / "chat.jsonl",)),
        optimizer=OptimizerSettings.adamw(0.01),
        schedule=Schedule(steps=8, decay=0.5),
        batch=2,
        length=64,
        tuning=Adapters(AdapterSettings(rank=4, dora=True)),
        quantization=QuantizationAware("q4_0", 0.4),
        precision="float32",
        save_every=2,
        measure_every=0,
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Over a base in 4-bit blocks."""
    folder = write_tokenizer(save(tmp_path / "model", "qwen3", vocab_size=304))
    quantize(folder, tmp_path / "base", "q4_0")
    write_lines(tmp_path / "chat.jsonl", ROWS)
    return recipe_over(tmp_path)


def test_a_stopped_run_goes_on_to_the_same_losses(recipe: Recipe, tmp_path: Path) -> None:
    whole, first, second = Listening(), Listening(5), Listening()
    one = Trainer(recipe, tmp_path / "whole", hooks=[whole])
    one.run()
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, tmp_path / "cut", hooks=[first]).run()
    other = Trainer(recipe, tmp_path / "cut", hooks=[second])
    assert other.step == 4
    other.run()
    assert first.losses[:4] + second.losses == whole.losses
    for name, adapter in adapters(one.model).items():
        for mine, its in zip(adapter.parameters(), adapters(other.model)[name].parameters(), strict=True):
            assert torch.equal(mine, its)
    kept = weights(one.model)
    assert kept.keys() == {name for name, part in one.model.named_parameters() if part.requires_grad}
    assert all("adapter" in name for name in kept)


def smooth(recipe: Recipe) -> Recipe:
    """Without rounding, which makes a last bit that differs a step that differs."""
    return dataclasses.replace(recipe, quantization=None)


def test_two_processes_train_the_same_adapter(recipe: Recipe, tmp_path: Path) -> None:
    train(smooth(recipe), tmp_path / "one", hooks=[MetricsFile()])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", __file__, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert found.returncode == 0, found.stderr
    losses = [[step["loss"] for step in read_history(tmp_path / n / "metrics.jsonl").steps] for n in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    files = [safetensors.read(tmp_path / n / "adapter" / "adapter_model.safetensors").tensors for n in ("one", "two")]
    assert files[0].keys() == files[1].keys()
    for name, tensor in files[0].items():
        np.testing.assert_allclose(tensor.array, files[1][name].array, atol=1e-4)


def test_weights_of_another_model_are_refused() -> None:
    model = torch.nn.Linear(3, 2)
    with pytest.raises(CorruptModel, match="other weights, such as more"):
        restore(model, {**weights(model), "more": torch.zeros(1)})
    with pytest.raises(CorruptModel, match="another shape"):
        restore(model, weights(torch.nn.Linear(4, 2)))


if __name__ == "__main__":  # by torchrun
    train(smooth(recipe_over(Path(sys.argv[1]))), Path(sys.argv[1]) / "two", hooks=[MetricsFile()])

"""Tokens a second of our trainer, of plain PyTorch as nanoGPT writes it, and of transformers' Trainer.

    python benchmarks/train.py [--threads 2] [--rounds 20] [--depth 4] [--compile] [--busy] [--json FILE]

The same Qwen3-shaped model from the same weights, the same rows, AdamW with the same settings, clipping, one dtype. In
every round each side makes one step, so that what else the machine does hits all of them; ratios are taken round by
round and their median is told, with quartiles. That the sides do the same work is checked: their losses must agree,
step by step. ``--busy`` counts processor time on one thread, for a machine that does other things too. bfloat16
(autocast) is a second pass; ours with Muon stands apart, since it is more arithmetic. With
``--compile`` plain PyTorch is compiled too (minutes), as nanoGPT does on a GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from ownlm.train.batch import Row
from ownlm.train.dial import dial
from ownlm.train.optim import BETAS, EPSILON, OptimizerSettings
from ownlm.train.recipe import Base, Opened, Recipe
from ownlm.train.schedule import Schedule
from ownlm.train.trainer import Trainer
from plain_decoder import PlainDecoder

RATE, CLIP = 1e-4, 1.0
VOCABULARY, LENGTH, ROWS = 8192, 512, 8
WARM_UP = 3
OURS, MUON, PLAIN, COMPILED, PEER = "ownlm", "ownlm, Muon", "plain torch", "plain torch, compiled", "transformers"


@dataclasses.dataclass(frozen=True)
class Fixed:
    """The same rows in every step, as a recipe's data."""

    ids: np.ndarray[Any, Any]

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        return Opened([Row(row, np.append(row[1:], -100)) for row in self.ids])


def ours(folder: Path, ids: np.ndarray[Any, Any], dtype: str, out: Path, muon: bool) -> Callable[[], float]:
    settings = dataclasses.replace(OptimizerSettings.adamw(RATE, clip=CLIP), muon=muon)
    recipe = Recipe(
        name="benchmark",
        model=Base(folder),
        data=Fixed(ids),
        optimizer=settings,
        schedule=Schedule(steps=1 << 30, decay=0.0),
        batch=ROWS,
        length=LENGTH,
        micro=ROWS,
        precision="float32" if dtype == "float32" else "bfloat16",
    )
    trainer = Trainer(recipe, out)
    return lambda: float(trainer.one_step()["loss"])


def plain(
    folder: Path, config: dict[str, Any], ids: np.ndarray[Any, Any], dtype: str, compiled: bool
) -> Callable[[], float]:
    model = PlainDecoder(config)
    weights = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).model.state_dict()
    model.load_state_dict(weights)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=0.0, fused=True)
    rows = torch.from_numpy(ids)
    targets = torch.cat([rows[:, 1:], torch.full((len(rows), 1), -100)], dim=1)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != "float32"):
            loss: Tensor = forward(rows, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


class Rounds(transformers.TrainerCallback):
    """transformers' Trainer goes at the head: at the end of each of its steps the others make theirs."""

    def __init__(self, others: dict[str, Callable[[], float]], clock: Callable[[], float]) -> None:
        self.others, self.clock = others, clock
        self.seconds: dict[str, list[float]] = {name: [] for name in (*others, PEER)}
        self.losses: dict[str, list[float]] = {name: [] for name in others}
        self._since = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._since:
            self._since = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds[PEER].append(self.clock() - self._since)
        for name, step in self.others.items():
            began = self.clock()
            self.losses[name].append(step())
            self.seconds[name].append(self.clock() - began)
        self._since = self.clock()  # fetching the next rows is a part of a step


class Logged(transformers.Trainer):
    """Keeps the loss of each step, which costs nothing on a CPU."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.losses: list[float] = []

    def training_step(self, *args: Any, **more: Any) -> Tensor:
        loss: Tensor = super().training_step(*args, **more)
        self.losses.append(loss.item())
        return loss


def play(
    folder: Path,
    ids: np.ndarray[Any, Any],
    dtype: str,
    options: argparse.Namespace,
    others: dict[str, Callable[[], float]],
) -> Rounds:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    watch = Rounds(others, time.process_time if options.busy else time.perf_counter)
    settings = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=ROWS,
        max_steps=WARM_UP + options.rounds,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPSILON,
        max_grad_norm=CLIP,
        optim="adamw_torch_fused",
        bf16=dtype != "float32",
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    data = [{"input_ids": torch.from_numpy(row), "labels": torch.from_numpy(row)} for row in ids]
    trainer = Logged(model=model, args=settings, train_dataset=data, callbacks=[watch])  # type: ignore[arg-type]
    trainer.train()
    watch.losses[PEER] = trainer.losses
    return watch


def agreement(losses: dict[str, list[float]]) -> float:
    """The largest difference of a step's loss between the sides that all use AdamW, relative."""
    same = [found for name, found in losses.items() if name != MUON]
    return max((max(step) - min(step)) / min(step) for step in zip(*same, strict=True))


def quartiles(values: list[float]) -> list[float]:
    return [round(value, 3) for value in statistics.quantiles(values, n=4)]


def measure(folder: Path, config: dict[str, Any], dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    ids = np.random.default_rng(1).integers(0, VOCABULARY, (ROWS, LENGTH))
    others = {
        OURS: ours(folder, ids, dtype, folder / f"{dtype}-a", False),
        MUON: ours(folder, ids, dtype, folder / f"{dtype}-b", True),
        PLAIN: plain(folder, config, ids, dtype, False),
    }
    if options.compile:
        others[COMPILED] = plain(folder, config, ids, dtype, True)
    watch = play(folder, ids, dtype, options, others)
    apart = agreement(watch.losses)
    if apart > (1e-4 if dtype == "float32" else 2e-2):
        raise SystemExit(f"{dtype}: the sides do not do the same work, their losses differ by {apart:.1e}")
    seconds = {name: found[WARM_UP:] for name, found in watch.seconds.items()}
    found: dict[str, Any] = {"losses_differ_by": apart, "tokens_per_second": {}, "ownlm_over": {}}
    print(f"\n{dtype}: losses of all sides agree within {apart:.0e}")
    for name, taken in seconds.items():
        speed = ROWS * LENGTH / statistics.median(taken)
        ratios = quartiles([there / here for there, here in zip(taken, seconds[OURS], strict=True)])
        found["tokens_per_second"][name], found["ownlm_over"][name] = round(speed), ratios
        ahead = f"ownlm is {ratios[1]:.2f} times as fast ({ratios[0]:.2f} to {ratios[2]:.2f})"
        print(f"  {name:<22} {speed:8,.0f} tokens/s   {ahead}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--busy", action="store_true", help="one thread, and its processor time instead of the clock's")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.busy:
        options.threads = 1
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    config = dial(options.depth, VOCABULARY, context=LENGTH).shape.config()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
        model.save_pretrained(folder)
        print(f"{model.num_parameters():,} parameters, {ROWS} rows of {LENGTH} tokens, {options.threads} threads")
        found = {dtype: measure(folder, config, dtype, options) for dtype in options.dtypes}
    if len(found) > 1:
        gains = {
            name: found["bfloat16"]["tokens_per_second"][name] / speed
            for name, speed in found["float32"]["tokens_per_second"].items()
        }
        found["bfloat16_over_float32"] = {name: round(gain, 2) for name, gain in gains.items()}
        print("\nbfloat16 over float32: " + ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

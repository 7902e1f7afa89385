"""What torchrun runs in ``test_distributed``: runs of a tiny recipe, given as JSON lists [folder, stop, settings]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parent))
import tiny_run

from ownlm.train.distributed import World, joined
from ownlm.train.metrics import MetricsFile
from ownlm.train.trainer import Trainer


def play(world: World, data: Path, out: Path, stop: int | None, settings: dict[str, Any]) -> None:
    """A run, or a part of it, which ends as a killed one does: without a word."""
    log = MetricsFile()
    trainer = Trainer(tiny_run.recipe(data, **settings), out, hooks=[log], world=world)
    if stop is None:
        trainer.run()
        return
    if world.leads:
        log.on_start(trainer.facts())
    while trainer.step < stop:
        metrics = trainer.one_step()
        if world.leads:
            log.on_step(metrics)
        if trainer.step % trainer.recipe.save_every == 0:
            trainer.checkpoints.save(trainer.state())


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as here:
        for folder, last, changes in json.loads(sys.argv[2]):
            play(here, Path(sys.argv[1]), Path(folder), last, changes)

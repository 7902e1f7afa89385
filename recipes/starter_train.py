"""A training run of the starter, done once, resumed where it stopped."""

from __future__ import annotations

from pathlib import Path

from ownlm.cli.output import note
from ownlm.train.hooks import Hook
from ownlm.train.metrics import MetricsFile
from ownlm.train.progress import ProgressLine
from ownlm.train.recipe import Recipe
from ownlm.train.report import ReportPage
from ownlm.train.trainer import Trainer


def trained(recipe: Recipe, out: Path) -> Trainer | None:
    """Run the recipe in ``out`` to its end; None if that was done before. The weights are written last."""
    if (out / "model" / "model.safetensors").is_file():
        note(f"{recipe.name}: {out} is there")
        return None
    hooks: list[Hook] = [MetricsFile(), ReportPage(), ProgressLine()]
    trainer = Trainer(recipe, out, hooks=hooks)
    found = trainer.run()
    note(f"{recipe.name}: {found['steps']} steps, {found['tokens']:,} tokens, {found['seconds'] / 60:.1f} minutes")
    return trainer

"""A recipe's run, as the commands ``train`` and ``tune`` show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.export import parity_lines
from ownlm.cli.output import note, say

if TYPE_CHECKING:
    from ownlm.train.recipe import Recipe

TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write event files for TensorBoard.")]
Project = Annotated[str | None, typer.Option("--trackio", help="Also log to this trackio project.", metavar="PROJECT")]


def run(recipe: Recipe, folder: Path, *, tensorboard: bool = False, trackio: str | None = None) -> None:
    """Run a recipe, or go on with its run, and say what came of it. The model in the folder, as it is served, is
    compared with the trainer's. Of several processes (torchrun) one speaks. Raises as ``Trainer`` and the gate do."""
    from ownlm.publish.runs import judge
    from ownlm.train.distributed import joined
    from ownlm.train.hooks import Hook, TensorBoard, Trackio
    from ownlm.train.metrics import MetricsFile
    from ownlm.train.progress import ProgressLine
    from ownlm.train.report import ReportPage
    from ownlm.train.trainer import Trainer

    hooks: list[Hook] = [MetricsFile(), ReportPage(), ProgressLine()]
    if tensorboard:
        hooks.append(TensorBoard())
    if trackio is not None:
        hooks.append(Trackio(trackio))
    with joined() as world:
        if world.leads:
            note(f"{recipe.name}: preparing {folder}")
        trainer = Trainer(recipe, folder, hooks=hooks, world=world)
        result = trainer.run()
        if not world.leads:
            return
        report = judge(trainer)
    say(str(folder / "model"))
    if result["valid_bits_per_byte"] is not None:
        say(f"  bits per byte  {result['valid_bits_per_byte']:.3f} on text that was set aside")
    for line in parity_lines(report, 15) if report else []:
        say(line)
    say(f"  report         {folder / 'report.html'}")

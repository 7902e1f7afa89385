"""``ownlm train``: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.export import parity_lines
from ownlm.cli.output import note, say


def train(
    recipe: Annotated[Path, typer.Argument(help="A Python file with a function recipe().", metavar="RECIPE")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder; a run that is there goes on. Default: runs/NAME.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", help="Layers of the model: the one dial that the rest follows from.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: schedule.steps=200.", metavar="NAME=VALUE")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write event files for TensorBoard.")] = False,
    trackio: Annotated[
        str | None, typer.Option("--trackio", help="Also log to this trackio project.", metavar="PROJECT")
    ] = None,
) -> None:
    """Train a model from text, or go on with a run that was stopped.

    Prints the folder of the finished model, which chat, serve, quantize and export take. RUN/report.html shows the run
    while it goes on. Killed at any moment, the same command resumes it, to the same losses. At the end the model in
    the folder, as it is served, is compared with the trainer's: if it is another, it is moved aside.
    """
    from ownlm.publish.runs import judge
    from ownlm.train.hooks import Hook, TensorBoard, Trackio
    from ownlm.train.metrics import MetricsFile
    from ownlm.train.progress import ProgressLine
    from ownlm.train.recipe_file import load, with_settings
    from ownlm.train.report import ReportPage
    from ownlm.train.trainer import Trainer

    made = with_settings(load(recipe, depth=depth), settings or [])
    folder = out or Path("runs") / made.name
    hooks: list[Hook] = [MetricsFile(), ReportPage(), ProgressLine()]
    if tensorboard:
        hooks.append(TensorBoard())
    if trackio is not None:
        hooks.append(Trackio(trackio))
    note(f"{made.name}: preparing {folder}")
    trainer = Trainer(made, folder, hooks=hooks)
    result = trainer.run()
    report = judge(trainer)
    say(str(folder / "model"))
    if result["valid_bits_per_byte"] is not None:
        say(f"  bits per byte  {result['valid_bits_per_byte']:.3f} on text that was set aside")
    for line in parity_lines(report, 15) if report else []:
        say(line)
    say(f"  report         {folder / 'report.html'}")

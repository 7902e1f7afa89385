"""``ownlm train``: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.running import Project, TensorBoard, run


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
    tensorboard: TensorBoard = False,
    trackio: Project = None,
) -> None:
    """Train a model from text, or go on with a run that was stopped.

    Prints the folder of the finished model, which chat, serve, quantize and export take. RUN/report.html shows the run
    while it goes on. Killed at any moment, the same command resumes it, to the same losses. At the end the model in
    the folder, as it is served, is compared with the trainer's: if it is another, it is moved aside.
    """
    from ownlm.train.recipe_file import load, with_settings

    made = with_settings(load(recipe, depth=depth), settings or [])
    run(made, out or Path("runs") / made.name, tensorboard=tensorboard, trackio=trackio)

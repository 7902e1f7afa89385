"""``ownlm tune``: a model learns from examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.output import note
from ownlm.cli.running import Project, TensorBoard, run

if TYPE_CHECKING:
    from ownlm.train.tune import Wishes


def tune(
    model: Annotated[str, typer.Argument(help="A model folder, or a Hub id that was pulled.", metavar="MODEL")],
    data: Annotated[list[Path], typer.Argument(help="Files of JSON lines, as described above.", metavar="DATA")],
    method: Annotated[
        str, typer.Option("--method", help="lora, dora, qlora (over 4-bit weights) or full (all weights).")
    ] = "lora",
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder; a run that is there goes on. Default: runs/NAME.")
    ] = None,
    valid: Annotated[
        list[Path] | None,
        typer.Option("--valid", help="Measure by these files.", show_default="one example of twenty is kept back"),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="Passes over the data.", show_default="3; DPO: 1")
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", help="Tokens of the longest example.", show_default="1024, or the context")
    ] = None,
    leave_out_long: Annotated[
        bool, typer.Option("--leave-out-long", help="Leave out longer examples, and say how many; else refuse them.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Learning rate.", show_default="by the model's width")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Rows a step.", show_default="by the data")] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Rank of the adapters.", show_default="16")] = None,
    beta: Annotated[
        float | None,
        typer.Option("--beta", help="DPO: how dear it is to leave the model's old ways.", show_default="0.1"),
    ] = None,
    qat: Annotated[
        str | None,
        typer.Option("--qat", help="Learn to be stored as q4_0 or q8_0: rounded so in the last 30 % of the run."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Order of the data and new adapters.")] = 0,
    tensorboard: TensorBoard = False,
    trackio: Project = None,
) -> None:
    """Tune a model on conversations, or on pairs of answers (DPO).

    A line of DATA is {"messages": [...]}, with "tools" if there are such, as OpenAI's fine-tuning takes them; what the
    assistant says is learnt. Or it is {"messages": [...], "chosen": ANSWER, "rejected": ANSWER}.

    RUN/model is the tuned model, adapters merged; RUN/adapter has the adapter as PEFT reads it.
    """
    from ownlm import hub
    from ownlm.train.tune import METHODS, Wishes, tuning

    wishes = Wishes(
        method=method, valid=tuple(valid or ()), length=length, too_long="leave_out" if leave_out_long else "refuse",
        epochs=epochs, rate=rate, batch=batch, rank=rank, beta=beta, qat=qat, seed=seed,
    )  # fmt: skip
    source = hub.resolve(model)
    folder = out or Path("runs") / f"{source.resolve().name}-{method if method in METHODS else 'tuned'}"
    base = _base(source, folder, wishes)
    recipe = tuning(base, tuple(data), folder.name, folder / "data", wishes)
    rows, steps = recipe.notes["rows"], recipe.schedule.steps
    note(f"{method} on {rows} rows of {recipe.length} tokens: {steps} steps of {recipe.batch}")
    for said in _left_out(folder / "data"):
        note(said)
    run(recipe, folder, tensorboard=tensorboard, trackio=trackio)


def _base(source: Path, folder: Path, wishes: Wishes) -> Path:
    """For qlora the model in 4 bits, made once; else the model itself."""
    from ownlm.model import checkpoint
    from ownlm.quant import quantize

    if wishes.method != "qlora" or not source.is_dir():
        return source
    if any(tensor.format for tensor in checkpoint.load(source, verify=False).tensors.values()):
        return source
    target = folder / "base-q4_0"
    if not target.is_dir():
        note(f"rounding the base to 4 bits: {target}")
        quantize(source, target, "q4_0")
    return target


def _left_out(cache: Path) -> list[str]:
    import json

    said = []
    for path in sorted(cache.glob("*/examples.json")):
        facts = json.loads(path.read_bytes())
        if facts.get("left_out"):
            said.append(f"left out {facts['left_out']} examples that are longer than a row")
        if facts.get("spelled_control_tokens"):
            said.append(f"{facts['spelled_control_tokens']} conversations spell control tokens: read as plain text")
    return said

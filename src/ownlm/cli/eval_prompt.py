"""``ownlm eval prompt``: which wording, and which examples, a model answers a task best with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.eval import Data, Model, Ops, opened
from ownlm.cli.options import Json
from ownlm.cli.output import note, say, table, write_json

if TYPE_CHECKING:
    from ownlm.evals.estimate import Estimate


def prompt(
    task: Annotated[str, typer.Argument(help="A task of `ownlm eval` that asks a question.", metavar="TASK")],
    variant: Annotated[
        list[Path] | None,
        typer.Argument(
            help='TOML files, a wording each:: user = "Sentiment: {text}". system and shots may follow.',
            metavar="[FILE ...]",
        ),
    ] = None,
    model: Model = None,
    shots: Annotated[
        int, typer.Option(help="Try so many examples before each question, too: fixed ones, and the nearest ones.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(help="Of so many samples, always the same.", show_default="all")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and keep nothing.")] = False,
    data: Data = None,
    json: Json = False,
    ops: Ops = "native",
) -> None:
    """Measure the wordings of a task's prompt with a model, and keep the best one for it.

    The wordings that come with OwnLM are tried, those of FILEs, and the one in use. The best is chosen on one part of
    the task's samples; its figure, and what it gains over the one in use, are of the other part. From then on that
    model, and no other, is asked in these words.
    """
    from ownlm.errors import InvalidSetting
    from ownlm.evals.catalog import load_task
    from ownlm.evals.data import data_folder
    from ownlm.evals.prompt import choose
    from ownlm.evals.task import Task
    from ownlm.home import data_home
    from ownlm.prompts import variants
    from ownlm.prompts.kept import Kept, keep, read_variant

    measure = load_task(task)
    if not isinstance(measure, Task):
        raise InvalidSetting("TASK", task, "it reads texts and asks nothing: name another task")
    built_in = variants(measure.template)
    prompts = [*built_in, *(read_variant(path, built_in[0]) for path in variant or [])]
    folder = data_folder(data)
    measure.drawn(folder, limit)  # what is wrong with the data is told before a model is loaded
    with opened(model, ops) as llm:
        found = choose(
            measure, llm, folder, prompts, limit=limit, shots=shots,
            on_result=lambda one: note(f"{one.prompt.version}: {_said(one.figure)}"),
        )  # fmt: skip
        content = {"model": llm.name, "fingerprint": llm.fingerprint, **found.json()}
        path = data_home() / "prompts" / f"{measure.template}.json"
        if not dry_run:
            keep(path, llm.fingerprint, Kept(found.best, llm.name, found.json()))
    if json:
        write_json({**content, "kept": None if dry_run else str(path)})
        return
    table(
        [(one.prompt.version, _said(one.figure)) for one in found.candidates],
        ("prompt", f"{found.metric}, the {found.chosen_on:,} samples of the choice"),
    )
    say()
    say(f"best    {found.best.version}: {_said(found.figure)} on {found.checked_on:,} other samples")
    clear = found.gain.low is not None and found.gain.high is not None and not found.gain.low <= 0 <= found.gain.high
    say(f"gain    {_said(found.gain)} over the one in use" + ("" if clear else ": no clear difference"))
    say("kept    nothing (--dry-run)" if dry_run else f"kept    {path}")


def _said(figure: Estimate) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "not scored"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"

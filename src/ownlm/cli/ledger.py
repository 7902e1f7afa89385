"""``ownlm ledger``: what was asked, what was read, what was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from ownlm.cli.options import Home, Json
from ownlm.cli.output import note, table, write_json

app = typer.Typer(help="What the model read, answer by answer.", no_args_is_help=True)

QUESTION_WIDTH = 70


@app.command(name="list")
def list_entries(
    limit: Annotated[int, typer.Option(help="Entries at most, newest first.", min=1)] = 50,
    home: Home = None,
    json: Json = False,
) -> None:
    """Answers given, newest first."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        entries = library.ledger(limit)
    if json:
        write_json([entry.to_dict() for entry in entries])
        return
    if not entries:
        note("no question was asked yet: ownlm ask QUESTION")
        return
    rows = [
        (
            entry.id,
            datetime.fromtimestamp(entry.created).astimezone().strftime("%Y-%m-%d %H:%M"),
            "abstained" if entry.abstained else "answered",
            entry.question if len(entry.question) <= QUESTION_WIDTH else entry.question[: QUESTION_WIDTH - 1] + "…",
        )
        for entry in entries
    ]
    table(rows, ("id", "time", "outcome", "question"))


@app.command()
def show(
    entry: Annotated[str, typer.Argument(help="Id that `ownlm ledger list` prints.", metavar="ID")],
    home: Home = None,
) -> None:
    """One entry whole, as JSON: question, passages, settings, model fingerprint, timings and answer."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        write_json(library.entry(entry).to_dict())

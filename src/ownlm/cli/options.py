"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="OWNLM_HOME", help="Folder of the index.", show_default="the platform's data folder"),
]
Speculate = Annotated[
    str,
    typer.Option(
        "--speculate", metavar="lookup|off",
        help="Compute tokens ahead that the text so far suggests: the same answers, quotations come faster.",
    ),
]  # fmt: skip
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="A small model of the same vocabulary that guesses ahead.", metavar="MODEL"),
]
ExactHead = Annotated[
    bool,
    typer.Option(
        "--exact-head",
        help="Read a large head whole, not by a 4-bit copy whose leading logits are computed again.",
    ),
]


def head_of(exact: bool) -> str:
    """The setting ``head`` of ``LLM``, of ``--exact-head``."""
    return "exact" if exact else "rescored"

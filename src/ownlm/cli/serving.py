"""Options that ``up`` and ``serve`` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.output import note

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM

Host = Annotated[str, typer.Option(help="Address to listen on; other than localhost needs --api-key.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="OWNLM_API_KEY", help="Key that every request must carry.")
]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Further name under which browsers may reach this server.")
]


def note_store(llm: LLM) -> None:
    """Say where what is computed of prompts is kept, if anywhere: it is as private as the prompts."""
    if (store := llm.engine.store) is not None:
        size = f"{store.limit / 1e9:.1f} GB"
        note(
            f"What is computed of prompts, and their tokens, are kept in {store.folder.root}, at most {size}. "
            "Of documents it goes with them, of all else with that folder (--no-kv-store keeps nothing)."
        )

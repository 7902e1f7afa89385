"""Options that ``up`` and ``serve`` have in common."""

from __future__ import annotations

from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="Address to listen on; other than localhost needs --api-key.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="OWNLM_API_KEY", help="Key that every request must carry.")
]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Further name under which browsers may reach this server.")
]

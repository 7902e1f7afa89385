"""``ownlm up``: index, then serve the page and the API."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ownlm.cli.options import Home
from ownlm.cli.output import note, say
from ownlm.cli.progress import indexing_progress, report


def up(
    docs: Annotated[
        list[str] | None, typer.Argument(help="Files and folders to index first.", metavar="[DOCS]...")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than localhost needs --api-key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8123,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="OWNLM_API_KEY", help="Key that every request must carry.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Further name under which browsers may reach this server.")
    ] = None,
    home: Home = None,
) -> None:
    """Index DOCS, serve the page and the API on this machine, and print the address."""
    from ownlm.rag.library import Library
    from ownlm.serve.run import bind, serve
    from ownlm.serve.settings import Settings

    settings = Settings(host=host, port=port, api_key=api_key, allowed_hosts=tuple(allow_host or ()))
    with closing(bind(settings)) as listener, Library.open(home) as library:
        if docs:
            with indexing_progress() as progress:
                synced = library.sync(docs, on_progress=progress)
            report(synced)
        serve(library, settings, listener=listener, on_ready=_say_where)


def _say_where(address: str) -> None:
    say(address)
    note("Open it in a browser. Ctrl-C stops it, after the answers that are under way.")

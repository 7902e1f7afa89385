"""``ownlm up``: index, then serve the page and the API."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Annotated

import typer

from ownlm.cli.options import (
    Device,
    Draft,
    ExactHead,
    Home,
    KvFormat,
    KvStore,
    KvStoreLimit,
    Speculate,
    head_of,
    ops_of,
    store_bytes,
)
from ownlm.cli.output import note, say
from ownlm.cli.progress import indexing_progress, report
from ownlm.cli.serving import AllowHost, ApiKey, Host, Port, note_store


def up(
    docs: Annotated[
        list[str] | None, typer.Argument(help="Files and folders to index first.", metavar="[DOCS]...")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A language model that may write answers and chat: a folder, a GGUF file, a Hub id."
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8123,
    api_key: ApiKey = None,
    allow_host: AllowHost = None,
    kv_format: KvFormat = "bf16",
    speculate: Speculate = "lookup",
    draft: Draft = None,
    kv_store: KvStore = True,
    kv_store_limit: KvStoreLimit = None,
    exact_head: ExactHead = False,
    device: Device = "auto",
    home: Home = None,
) -> None:
    """Index DOCS, serve the page and the API on this machine, and print the address."""
    from ownlm.rag.library import Library
    from ownlm.serve.run import bind, serve
    from ownlm.serve.settings import Settings

    settings = Settings(host=host, port=port, api_key=api_key, allowed_hosts=tuple(allow_host or ()))
    with ExitStack() as open_:
        listener = open_.enter_context(closing(bind(settings)))
        library = open_.enter_context(Library.open(home))
        llm = None
        if model is not None:
            from ownlm.engine.kv_folder import FOLDER
            from ownlm.engine.llm import LLM

            kept = library.home / FOLDER if kv_store else None
            llm = LLM(
                model, kv_format=kv_format, speculate=speculate, draft=draft, store=kept,
                store_limit=store_bytes(kv_store_limit), head=head_of(exact_head), ops=ops_of(device),
            )  # fmt: skip
            open_.enter_context(llm)
            note_store(llm)
            for text in llm.notes:
                note(f"note: {text}")
        if docs:
            with indexing_progress() as progress:
                synced = library.sync(docs, on_progress=progress)
            report(synced)
        serve(library, settings, llm=llm, listener=listener, on_ready=_say_where)


def _say_where(address: str) -> None:
    say(address)
    note("Open it in a browser. Ctrl-C stops it, after the answers that are under way.")

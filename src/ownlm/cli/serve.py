"""``ownlm serve``: a language model behind OpenAI's API."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.options import (
    Device,
    Draft,
    ExactHead,
    KvFormat,
    KvStore,
    KvStoreLimit,
    Speculate,
    head_of,
    ops_of,
    store_bytes,
)
from ownlm.cli.output import note, say
from ownlm.cli.serving import AllowHost, ApiKey, Host, Port, note_store

if TYPE_CHECKING:
    from socket import socket

    from ownlm.engine.llm import LLM
    from ownlm.serve.settings import Settings


def serve(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A folder, a GGUF file, a Hub id, or a name of `ownlm list`.",
            show_default="the model that ships, a demonstration",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key: ApiKey = None,
    allow_host: AllowHost = None,
    context: Annotated[
        int | None,
        typer.Option(help="Longest prompt and answer together, in tokens. Default: the model's own, or what fits."),
    ] = None,
    cache_tokens: Annotated[
        int | None, typer.Option(help="Tokens whose keys and values are kept, of all requests together.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Id under which clients ask for the model.", show_default="the model's own name")
    ] = None,
    kv_format: KvFormat = "bf16",
    speculate: Speculate = "lookup",
    draft: Draft = None,
    kv_store: KvStore = True,
    kv_store_limit: KvStoreLimit = None,
    exact_head: ExactHead = False,
    device: Device = "auto",
    max_running: Annotated[int, typer.Option(help="Requests that are computed together.")] = 64,
    max_waiting: Annotated[int, typer.Option(help="Requests that may wait; the next are told to come back.")] = 1024,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Name fields that are not understood in `warnings` instead of refusing them."),
    ] = False,
) -> None:
    """Serve a model with OpenAI's API: chat, completions, embeddings, tokens, metrics."""
    from ownlm.cli.models import pull_progress
    from ownlm.cli.starter import or_starter, remark
    from ownlm.engine.llm import LLM
    from ownlm.errors import InvalidSetting
    from ownlm.serve.run import bind
    from ownlm.serve.settings import Settings

    settings = Settings(host=host, port=port, api_key=api_key, allowed_hosts=tuple(allow_host or ()), lenient=lenient)
    if name is not None and not (name.isprintable() and name.strip()):
        raise InvalidSetting("--name", name, "give a word, such as the name that your clients ask for")
    model = or_starter(model)
    with closing(bind(settings)) as listener:
        if (told := remark(model)) is not None:
            note(f"note: {told}")
        with pull_progress() as progress:
            llm = LLM(
                model, context=context, cache_tokens=cache_tokens, max_running=max_running, max_waiting=max_waiting,
                kv_format=kv_format, speculate=speculate, draft=draft, store=kv_store,
                store_limit=store_bytes(kv_store_limit), head=head_of(exact_head), ops=ops_of(device),
                on_progress=progress,
            )  # fmt: skip
        _serve(llm, name or llm.name, settings, listener)


def _serve(llm: LLM, name: str, settings: Settings, listener: socket) -> None:
    from ownlm.serve.run import serve as run

    with llm:
        llm.name = name
        for text in llm.notes:
            note(f"note: {text}")

        note_store(llm)

        def say_where(address: str) -> None:
            say(f"{address}/v1")
            note(
                f"{llm.name}, {llm.context:,} tokens of context. Ctrl-C stops it, after the answers that are under way."
            )

        run(None, settings, llm=llm, listener=listener, on_ready=say_where)

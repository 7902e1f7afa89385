"""``ownlm serve``: a language model behind OpenAI's API."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ownlm.cli.output import note, say
from ownlm.cli.serving import AllowHost, ApiKey, Host, Port


def serve(
    model: Annotated[str, typer.Option("--model", help="A folder, a GGUF file, a Hub id, or a name of `ownlm list`.")],
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
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Name fields that are not understood in `warnings` instead of refusing them."),
    ] = False,
) -> None:
    """Serve a model with OpenAI's API: chat, completions, embeddings, tokens, metrics."""
    from ownlm.engine.llm import LLM
    from ownlm.serve.run import bind
    from ownlm.serve.run import serve as run
    from ownlm.serve.settings import Settings

    settings = Settings(host=host, port=port, api_key=api_key, allowed_hosts=tuple(allow_host or ()), lenient=lenient)
    with closing(bind(settings)) as listener, LLM(model, context=context, cache_tokens=cache_tokens) as llm:
        for text in llm.notes:
            note(f"note: {text}")

        def say_where(address: str) -> None:
            say(f"{address}/v1")
            note(
                f"{llm.name}, {llm.context:,} tokens of context. Ctrl-C stops it, after the answers that are under way."
            )

        run(None, settings, llm=llm, listener=listener, on_ready=say_where)

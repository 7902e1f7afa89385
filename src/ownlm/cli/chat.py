"""``ownlm chat``: a conversation in the terminal."""

from __future__ import annotations

from typing import Annotated, Any

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
from ownlm.cli.output import note

Sampling = "Sampling; by default as the model's files say"


def chat(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Folder, GGUF file, name from `ownlm list`, or Hub id ORG/NAME.",
            show_default="the model that ships, a demonstration",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before the conversation.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0: always the likeliest token; more: more variety.", rich_help_panel=Sampling)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only tokens that have this probability together.", rich_help_panel=Sampling)
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Only so many tokens, 0 for all.", rich_help_panel=Sampling)] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Only tokens this fraction as likely as the likeliest.", rich_help_panel=Sampling),
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: repeat less.", rich_help_panel=Sampling)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same answers again for the same messages.", rich_help_panel=Sampling)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Of one answer.", show_default="what the context holds")
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens of the whole conversation.", show_default="the model's own")
    ] = None,
    kv_format: KvFormat = "bf16",
    speculate: Speculate = "lookup",
    draft: Draft = None,
    kv_store: KvStore = True,
    kv_store_limit: KvStoreLimit = None,
    exact_head: ExactHead = False,
    device: Device = "auto",
) -> None:
    """Talk with a model. Messages are lines; with piped input, each line is one too.

    Answers go to stdout, speed and remarks to stderr. Ctrl-C stops an answer, Ctrl-D ends the chat, /help shows more.
    """
    from ownlm.cli.conversation import Conversation
    from ownlm.cli.models import pull_progress
    from ownlm.cli.starter import or_starter, remark
    from ownlm.engine.llm import LLM

    model = or_starter(model)
    given: dict[str, Any] = {
        "temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p, "seed": seed,
        "repetition_penalty": repetition_penalty, "max_tokens": max_tokens,
    }  # fmt: skip
    settings = {name: value for name, value in given.items() if value is not None}
    with pull_progress() as progress:
        llm = LLM(
            model,
            context=context,
            kv_format=kv_format,
            speculate=speculate,
            draft=draft,
            store=kv_store,
            store_limit=store_bytes(kv_store_limit),
            head=head_of(exact_head),
            ops=ops_of(device),
            on_progress=progress,
        )
    with llm:
        llm.params(**settings)  # a bad one is told before the first message
        for told in (*llm.notes, remark(model)):
            if told is not None:
                note(f"note: {told}")
        Conversation(llm, settings, system).run()

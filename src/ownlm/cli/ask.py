"""``ownlm ask``: a grounded answer, in the documents' own words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownlm.cli.options import (
    Device,
    Draft,
    ExactHead,
    Home,
    Json,
    KvFormat,
    KvStore,
    KvStoreLimit,
    Speculate,
    head_of,
    ops_of,
    store_bytes,
)
from ownlm.cli.output import note, say, write_json
from ownlm.cli.progress import indexing_progress, report

if TYPE_CHECKING:
    from ownlm.rag.generate.generator import Generator
    from ownlm.rag.types import Answer, Citation, Passage

SHOWN_PASSAGES = 3
SHOWN_CHARACTERS = 240


def ask(
    question: Annotated[str, typer.Argument(help="The question, in plain words.", metavar="QUESTION")],
    docs: Annotated[
        list[str] | None,
        typer.Option(
            "--docs", metavar="PATH", help="Index this file or folder first, and answer from it alone. May be repeated."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="A language model writes the answer: a folder, a GGUF file, a Hub id, or a name."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            help="extract: quote the documents. generate: a model writes.",
            show_default="generate with --model, else extract",
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="Where the model runs: here (local), or openai: a server at --base-url.")
    ] = "local",
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Address of an OpenAI-compatible server, up to its /v1.")
    ] = None,
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", help="Environment variable that holds the server's key.")
    ] = "OPENAI_API_KEY",
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest answer that a model may write.")] = 400,
    kv_format: KvFormat = "bf16",
    speculate: Speculate = "lookup",
    draft: Draft = None,
    kv_store: KvStore = True,
    kv_store_limit: KvStoreLimit = None,
    exact_head: ExactHead = False,
    device: Device = "auto",
    home: Home = None,
    json: Json = False,
) -> None:
    """Answer a question from your documents, or say that they do not answer it.

    Without --model the answer is quoted from the documents. With it, a model writes, and can cite only what it was
    given; with --mode generate alone, the small one that ships writes. Every quotation is exact: the characters
    START:END of the document that `ownlm index show` prints.
    """
    from ownlm.rag.library import Library

    settings = {
        "kv_format": kv_format, "speculate": speculate, "draft": draft, "store": _kept(home, kv_store),
        "store_limit": store_bytes(kv_store_limit), "head": head_of(exact_head), "ops": ops_of(device),
    }  # fmt: skip
    writer = _writer(mode, model, backend, base_url, api_key_env, settings)

    with Library.open(home) as library:
        scope = None
        if docs:
            with indexing_progress() as progress:
                synced = library.sync(docs, on_progress=progress)
            report(synced, quiet_when_unchanged=bool(synced.documents))
            scope = synced.documents
        if writer is None:
            answer = library.ask(question, documents=scope)
        else:
            from ownlm.rag.generate.answer import GenerateSettings

            answer = library.write(
                question, writer(), documents=scope, settings=GenerateSettings(max_tokens=max_tokens)
            )
    if json:
        write_json(answer.to_dict())
    else:
        _print(answer)


def _writer(
    mode: str | None, model: str | None, backend: str, base_url: str | None, api_key_env: str, settings: dict[str, Any]
) -> Callable[[], Generator] | None:
    """What makes the generator, once it is needed; None for extract mode. ``settings``: those of the ``LLM``.

    Raises InvalidSetting.
    """
    from ownlm.cli.starter import or_starter
    from ownlm.errors import InvalidSetting

    if mode not in (None, "extract", "generate"):
        raise InvalidSetting("--mode", mode, "give extract or generate")
    if mode == "extract" and (model is not None or backend != "local"):
        raise InvalidSetting("--mode", mode, "nothing is written then: leave out --model and --backend")

    if backend not in ("local", "openai"):
        raise InvalidSetting("--backend", backend, "give local or openai")
    if backend == "local":
        if base_url is not None:
            raise InvalidSetting("--base-url", base_url, "it belongs to --backend openai")
        return partial(_local, or_starter(model), settings) if model is not None or mode == "generate" else None
    if base_url is None:
        raise InvalidSetting("--backend", backend, "say where the server is, with --base-url")
    if model is None:
        raise InvalidSetting("--backend", backend, "say which of the server's models writes, with --model")
    from ownlm.rag.generate.openai import OpenAIGenerator

    return partial(OpenAIGenerator, base_url, model, api_key_env=api_key_env)


def _kept(home: Path | None, kv_store: bool) -> Path | None:
    """Where what is computed of prompts is kept: beside the index, which removes it with its document."""
    from ownlm.engine.kv_folder import FOLDER
    from ownlm.home import data_home

    return data_home(home) / FOLDER if kv_store else None


def _local(model: str, settings: dict[str, Any]) -> Generator:
    from ownlm.cli.starter import remark
    from ownlm.engine.llm import LLM
    from ownlm.rag.generate.generator import LocalGenerator

    llm = LLM(model, **settings)
    for text in (*llm.notes, remark(model)):
        if text is not None:
            note(f"note: {text}")
    return LocalGenerator(llm)


def _print(answer: Answer) -> None:
    if answer.mode == "generate" and not answer.abstained:
        say(answer.answer)
        for citation in dict.fromkeys(citation for claim in answer.claims for citation in claim.citations):
            say(f"\n  {_shortened(citation.quote)}\n    {_place(citation)}")
        _notes(answer)
        return
    if answer.abstained:
        say(answer.answer)
        if answer.passages:
            say("\nThe nearest passages:")
        for passage in answer.passages[:SHOWN_PASSAGES]:
            say(f"\n  {_shortened(passage.text)}\n    {_place(passage)}")
    for claim in answer.claims:
        for citation in claim.citations:
            say(f"“{citation.quote}”\n    {_place(citation)}\n")
    _notes(answer)


def _notes(answer: Answer) -> None:
    for text in answer.notes:
        note(f"note: {text}")


def _place(span: Citation | Passage) -> str:
    page = f", page {span.page}" if span.page else ""
    heading = f" › {span.heading[-1]}" if span.heading else ""
    return f"{span.document}{page}{heading} [{span.start}:{span.end}]"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else flat[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"

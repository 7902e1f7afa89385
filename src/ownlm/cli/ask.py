"""``ownlm ask``: a grounded answer, in the documents' own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ownlm.cli.options import Home, Json
from ownlm.cli.output import note, say, write_json
from ownlm.cli.progress import indexing_progress, report

if TYPE_CHECKING:
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
    home: Home = None,
    json: Json = False,
) -> None:
    """Answer a question from your documents, or say that they do not answer it.

    Every quotation is exact: the characters START:END of the document that `ownlm index show` prints.
    """
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        scope = None
        if docs:
            with indexing_progress() as progress:
                synced = library.sync(docs, on_progress=progress)
            report(synced, quiet_when_unchanged=bool(synced.documents))
            scope = synced.documents
        answer = library.ask(question, documents=scope)
    if json:
        write_json(answer.to_dict())
    else:
        _print(answer)


def _print(answer: Answer) -> None:
    if answer.abstained:
        say(answer.answer)
        if answer.passages:
            say("\nThe nearest passages:")
        for passage in answer.passages[:SHOWN_PASSAGES]:
            say(f"\n  {_shortened(passage.text)}\n    {_place(passage)}")
    for claim in answer.claims:
        for citation in claim.citations:
            say(f"“{citation.quote}”\n    {_place(citation)}\n")
    for text in answer.notes:
        note(f"note: {text}")


def _place(span: Citation | Passage) -> str:
    page = f", page {span.page}" if span.page else ""
    heading = f" › {span.heading[-1]}" if span.heading else ""
    return f"{span.document}{page}{heading} [{span.start}:{span.end}]"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else flat[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"

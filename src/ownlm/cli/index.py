"""``ownlm index``: the document index."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from ownlm.cli.options import Home, Json
from ownlm.cli.output import counted, note, say, table, write, write_json
from ownlm.cli.progress import indexing_progress, report
from ownlm.errors import InvalidSetting

LONGEST_WAIT = 86_400

app = typer.Typer(help="The document index: add, list, show, remove, search, watch.", no_args_is_help=True)

Paths = Annotated[list[str], typer.Argument(help="Files and folders.", metavar="PATH...")]
Names = Annotated[list[str], typer.Argument(help="Name, unique end of the name, or number.", metavar="DOCUMENT...")]


@app.command()
def add(paths: Paths, home: Home = None, json: Json = False) -> None:
    """Index files and folders; again, only what changed is read, and what was deleted is removed."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        with indexing_progress() as progress:
            result = library.sync(paths, on_progress=progress)
        report(result)
    if json:
        write_json(asdict(result))
    if result.skipped and not result.documents:
        raise typer.Exit(1)  # nothing of what was named could be indexed


@app.command(name="list")
def list_documents(home: Home = None, json: Json = False) -> None:
    """Every indexed document."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        documents = library.documents()
    if json:
        write_json([asdict(document) for document in documents])
        return
    if not documents:
        note("nothing is indexed yet: ownlm index add PATH")
        return
    rows = [(str(d.id), f"{d.chunks:,}", f"{d.characters:,}", d.name) for d in documents]
    table(rows, ("id", "chunks", "characters", "name"))


@app.command()
def show(
    document: Annotated[str, typer.Argument(help="Name, unique end of the name, or number.", metavar="DOCUMENT")],
    home: Home = None,
    json: Json = False,
) -> None:
    """The document's text, character by character as citations count it (with --json, its marks too)."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        found = library.document(document)
        extracted = library.extracted(found.id)
    if json:
        write_json({**asdict(found), "text": extracted.text, "marks": [asdict(mark) for mark in extracted.marks]})
    else:
        write(extracted.text)


@app.command()
def remove(documents: Names, home: Home = None) -> None:
    """Take documents out of the index. The files themselves stay."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        for document in library.remove(documents):
            say(f"removed {document.name}")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words or a question.", metavar="QUERY")],
    limit: Annotated[int, typer.Option(help="Passages at most.", min=1, max=1000)] = 10,
    home: Home = None,
    json: Json = False,
) -> None:
    """The passages nearest to a query, best first."""
    from ownlm.rag.library import Library

    with Library.open(home) as library:
        passages = library.search(query, limit)
    if json:
        write_json([asdict(passage) for passage in passages])
        return
    for passage in passages:
        say(f"{passage.score:.3f}  {passage.document} [{passage.start}:{passage.end}]\n{passage.text}\n")
    if not passages:
        note("nothing found")


@app.command()
def watch(
    paths: Paths,
    every: Annotated[float, typer.Option(help="Seconds between looks.")] = 5.0,
    home: Home = None,
) -> None:
    """Keep the index in line with files and folders until Ctrl-C."""
    from ownlm.rag.library import Library

    if not 0 < every <= LONGEST_WAIT:
        raise InvalidSetting("--every", every, f"give a number of seconds above 0 and up to {LONGEST_WAIT:,}")
    with Library.open(home) as library:
        note(f"watching {counted(len(paths), 'path')}, every {every:g} s; Ctrl-C ends")
        while True:
            with indexing_progress() as progress:
                result = library.sync(paths, on_progress=progress)
            report(result, quiet_when_unchanged=True)
            time.sleep(every)

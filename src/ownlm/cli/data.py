"""``ownlm data``: corpora to token shards, and what is in either."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownlm.cli.data_sources import named_sources
from ownlm.cli.models import size
from ownlm.cli.options import Json
from ownlm.cli.output import note, say, table, write_json

if TYPE_CHECKING:
    from ownlm.train.data.executors import Executor
    from ownlm.train.data.manifest import Manifest

SECONDS_BETWEEN_LINES = 5.0
app = typer.Typer(help="Corpora: text to token shards, and what is in either.", no_args_is_help=True)

Paths = Annotated[
    list[str] | None,
    typer.Argument(help="Files or folders, as PATH or NAME=PATH; - is standard input.", metavar="[NAME=]PATH"),
]
Corpus = Annotated[
    Path | None, typer.Option("--corpus", help="A TOML file with a table [[source]] for each source.", metavar="FILE")
]
Weights = Annotated[
    list[str] | None, typer.Option("--weight", help="How many times a source is read; 0.5: half.", metavar="NAME=N")
]
Licences = Annotated[list[str] | None, typer.Option("--licence", help="Goes to the manifest.", metavar="NAME=TEXT")]
Held = Annotated[
    list[str] | None, typer.Option("--validate-on", help="A source that is validation text only.", metavar="NAME")
]
Field = Annotated[str, typer.Option("--text-field", help="The field of JSONL rows, the column of Parquet.")]
Form = Annotated[str | None, typer.Option("--format", help="jsonl, text or parquet.", show_default="by the file")]
Separator = Annotated[
    str | None, typer.Option("--separator", help="What ends a document of text.", show_default="the file's end")
]
Pattern = Annotated[str, typer.Option("--pattern", help="Which files of a folder are read.")]
Near = Annotated[
    float, typer.Option("--near", help="Drop documents that are this similar to an earlier one; 0: keep them.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes.", show_default="one for each core")]
Ray = Annotated[bool, typer.Option("--ray", help="Work on a Ray cluster, with Ray Data.")]
Address = Annotated[str | None, typer.Option("--ray-address", help="The cluster.", show_default="Ray's own choice")]


@app.command("build")
def build_command(
    paths: Paths = None,
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("shards"),
    corpus: Corpus = None,
    weight: Weights = None,
    licence: Licences = None,
    validate_on: Held = None,
    text_field: Field = "text",
    form: Form = None,
    separator: Separator = None,
    pattern: Pattern = "*",
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", help="Tokens of the tokenizer that is trained.", show_default="16384")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="A folder with the tokenizer to use.")] = None,
    valid: Annotated[float, typer.Option("--valid", help="Share of documents set aside for validation.")] = 0.005,
    seed: Annotated[int, typer.Option("--seed", help="Of the documents' order.")] = 0,
    exact: Annotated[
        bool, typer.Option(help="Drop documents that are the same byte for byte (--near does so too).")
    ] = True,
    near: Near = 0.8,
    workers: Workers = None,
    ray: Ray = False,
    ray_address: Address = None,
    json: Json = False,
) -> None:
    """Make token shards: read, drop duplicates, shuffle, train a tokenizer, tokenize.

    Text may be larger than memory; the disk holds it once more while this works. The same text, settings and seed give
    the same shards, byte for byte, whatever the number of workers, with Ray or without.
    """
    from ownlm.errors import InvalidSetting
    from ownlm.train.data import BuildSettings, build

    if tokenizer is not None and vocab_size is not None:
        raise InvalidSetting("--vocab-size", vocab_size, "--tokenizer has one of its own: drop one of the two")
    sources = named_sources(paths or [], corpus, weight, licence, validate_on, text_field, form, separator, pattern)
    chosen: dict[str, Any] = {} if vocab_size is None else {"vocab_size": vocab_size}
    settings = BuildSettings(tokenizer=tokenizer, valid=valid, seed=seed, exact=exact, near=near or None, **chosen)
    with _executor(workers, ray, ray_address) as executor, _progress() as progress:
        made = build(sources, out, settings, executor=executor, progress=progress, note=note)
    if json:
        write_json(asdict(made))
    else:
        _say(out, made)


@app.command("stats")
def stats(
    paths: Paths = None,
    corpus: Corpus = None,
    text_field: Field = "text",
    form: Form = None,
    separator: Separator = None,
    pattern: Pattern = "*",
    near: Near = 0.8,
    verify: Annotated[bool, typer.Option("--verify", help="Shards: read every byte and compare the hashes.")] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """What is in a folder of token shards; or in text, before anything is built of it."""
    from ownlm.errors import InvalidSetting
    from ownlm.train.data import BuildSettings, manifest, shards
    from ownlm.train.data.survey import survey

    given = paths or []
    if len(given) == 1 and corpus is None and (Path(given[0]) / manifest.NAME).is_file():
        folder = Path(given[0])
        found = manifest.load(folder)
        if verify:
            shards.verify(folder, found)
        if json:
            write_json(asdict(found))
        else:
            _say(folder, found)
            if verify:
                say("  every byte is as the manifest says")
        return
    if verify:
        raise InvalidSetting("--verify", "of text", "only a folder of token shards has hashes")
    sources = named_sources(given, corpus, None, None, None, text_field, form, separator, pattern)
    scratch = Path(tempfile.gettempdir()) / "ownlm-survey"
    with _executor(workers, False, None) as executor, _progress() as progress:
        surveys = survey(sources, scratch, BuildSettings(near=near or None), executor=executor, progress=progress,
                         note=note)  # fmt: skip
    if json:
        write_json([asdict(one) for one in surveys])
        return
    rows = [
        (one.counts.name, f"{one.counts.read:,}", size(one.counts.read_bytes), f"{one.counts.empty:,}",
         f"{one.counts.duplicates_exact:,}", f"{one.counts.duplicates_near:,}", f"{one.counts.kept:,}",
         size(one.kept_bytes), " ".join(f"{length:,}" for length in one.lengths))
        for one in surveys
    ]  # fmt: skip
    table(rows, ("source", "read", "text", "empty", "same", "alike", "kept", "kept text", "bytes: 0 10 50 90 100 %"))


def _say(folder: Path, made: Manifest) -> None:
    say(str(folder))
    for split in made.splits:
        tokens, text = made.tokens(split), made.bytes(split)
        ratio = f"{text / tokens:.2f} bytes a token" if tokens else "no text"
        say(f"  {split:<6} {tokens:>14,} tokens  {made.documents(split):>10,} documents  {size(text)}  {ratio}")
    say(f"  tokenizer of {made.vocab_size:,} tokens, ids as {made.dtype}, seed {made.settings.get('seed')}")
    whole = sum(source.tokens for source in made.sources) or 1
    rows = [
        (source.name, f"{source.read:,}", f"{source.duplicates_exact:,}", f"{source.duplicates_near:,}",
         f"{source.kept:,}", f"{source.weight:g}", f"{source.tokens:,}", f"{source.tokens / whole:.1%}",
         source.licence or "not stated")
        for source in made.sources
    ]  # fmt: skip
    table(rows, ("source", "read", "same", "alike", "kept", "weight", "tokens", "share", "licence"))


@contextmanager
def _executor(workers: int | None, ray: bool, address: str | None) -> Iterator[Executor]:
    from ownlm.errors import InvalidSetting
    from ownlm.train.data.executors import Inline, Processes, RayData

    if address is not None and not ray:
        raise InvalidSetting("--ray-address", address, "it goes with --ray")
    if ray and workers is not None:
        raise InvalidSetting("--workers", workers, "with --ray the cluster decides: drop one of the two")
    if workers is not None and workers < 1:
        raise InvalidSetting("--workers", workers, "give at least 1")
    count = (
        workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or os.cpu_count() or 1
    )
    executor: Executor = RayData(address) if ray else Inline() if count == 1 else Processes(count)
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1)
            yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
        return
    last = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            note(f"{stage}: {done}/{total}")

    yield show

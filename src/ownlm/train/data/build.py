"""``build``: sources to a folder of token shards, in five passes, none of which holds the text in memory.

    scan        files -> segments: texts, digests, signatures          (tasks: pieces of the sources)
    duplicates  which documents are the same, or nearly                 (tasks: bands of the signatures)
    shuffle     every kept copy into a bucket by its key
    tokenizer   a byte-level BPE on the first buckets, unless one is given
    encode      buckets -> ids -> shards                                (tasks: buckets)

Tasks run in an ``Executor``. All passes work in a folder beside the one that is made, which appears whole at the end.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ownlm.errors import DiskFull, InvalidData, InvalidSetting
from ownlm.tokenizer.bpe import train_bpe
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.train.data import duplicates, readers
from ownlm.train.data.counts import source_counts
from ownlm.train.data.encode import Encode, separator_of
from ownlm.train.data.executors import FULL, Executor, Inline, Processes
from ownlm.train.data.manifest import Manifest
from ownlm.train.data.scan import Scan, Scanned
from ownlm.train.data.segment import Table
from ownlm.train.data.shards import ShardWriter, dtype_for
from ownlm.train.data.shuffle import SPLITS, Bucket, Plan
from ownlm.train.data.source import STDIN, BuildSettings, Source, check_names, pieces

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                   "generation_config.json")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """What all passes share."""

    sources: Sequence[Source]
    settings: BuildSettings
    folder: Path
    executor: Executor
    progress: Progress
    note: Note


def build(
    sources: Sequence[Source],
    out: Path,
    settings: BuildSettings | None = None,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = lambda stage, done, total: None,
    note: Note = lambda text: None,
) -> Manifest:
    """Make token shards of the sources in ``out``, which must not exist or be empty.

    ``workers``: processes of this machine, or give an ``executor``. ``progress(stage, done, total)`` and ``note(text)``
    are called as the work goes on. Raises InvalidData (an empty source, a wrong row), InvalidSetting, NotFound,
    MissingExtra, DiskFull; then ``out`` is as it was.
    """
    check_names(sources)
    if workers < 1:
        raise InvalidSetting("workers", workers, "give at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidSetting("out", str(out), "it is there and not empty: give a new folder, or remove it")
    given, chosen = executor, executor or (Inline() if workers == 1 else Processes(workers))
    work: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
        run = Run(_spooled(sources, work), settings or BuildSettings(), work, chosen, progress, note)
        manifest = _build(run, work / "made")
        for file in (work / "made").iterdir():  # what was written by way of a temporary file is private
            shutil.copymode(work / "made" / manifest.splits["train"][0].file, file)
        (work / "made").replace(out)
        return manifest
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(out) from None
        raise
    finally:
        if given is None:
            chosen.close()
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _build(run: Run, made: Path) -> Manifest:
    made.mkdir()
    scanned = _scan(run)
    table, states = _deduplicated(run, scanned)
    plan = Plan(table, states, run.sources, run.settings)
    buckets = plan.write(run.folder)
    if not plan.made["train"]:
        raise InvalidData(
            "the corpus", "has no document to train on", "give more text, or a smaller share of validation"
        )
    if run.settings.valid and not plan.made["valid"]:
        run.note("there is one document only, so none is set aside for validation")
    sha256 = _tokenizer(run, table, buckets, made)
    tokenizer = Tokenizer.load(made)
    dtype, separator = dtype_for(tokenizer.vocab_size), separator_of(tokenizer)
    writers = {split: ShardWriter(made, split, dtype, separator, limit=run.settings.shard_tokens) for split in SPLITS}
    totals = np.zeros((len(run.sources), 3), np.int64)
    done = 0
    with writers["train"], writers["valid"]:
        for bucket, encoded in zip(
            buckets, run.executor.map(Encode(table.segments, made, dtype), buckets), strict=True
        ):
            for ids, documents in encoded.parts():
                writers[bucket.split].documents(ids, documents["tokens"].tolist(), documents["bytes"].tolist())
                for column, values in enumerate((np.ones(len(documents)), documents["bytes"], documents["tokens"])):
                    totals[:, column] += np.bincount(documents["source"], values, len(totals)).astype(np.int64)
            encoded.remove()
            done += 1
            run.progress("tokenizing", done, len(buckets))
        splits = {split: writer.finish() for split, writer in writers.items()}
    settings = {"seed": run.settings.seed, "valid": run.settings.valid, "exact": run.settings.exact,
                "near": run.settings.near}  # fmt: skip
    counts = source_counts(run.sources, scanned, table, states, totals)
    manifest = Manifest(dtype, tokenizer.vocab_size, separator, sha256, splits, counts, settings)
    manifest.write(made)
    return manifest


def _spooled(sources: Sequence[Source], work: Path) -> list[Source]:
    """The sources with standard input, which can be read only once, as a file."""
    found = []
    for source in sources:
        if source.path == STDIN:
            path = work / "standard input"
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
            source = replace(source, path=path, format=source.format or readers.format_of_content(path))
        found.append(source)
    return found


def _scan(run: Run) -> list[Scanned]:
    """Read everything. Raises InvalidData for a source without text."""
    todo = pieces(run.sources)
    task = Scan(run.sources, run.folder, run.settings.seed, run.settings.near is not None)
    found: list[Scanned] = []
    for scanned in run.executor.map(task, todo):
        found.append(scanned)
        run.progress("reading", len(found), len(todo))
    number = 0
    for scanned in found:
        for rank, segment in enumerate(scanned.segments):
            scanned.segments[rank] = replace(segment, first=number)
            number += segment.documents
    for rank, source in enumerate(run.sources):
        mine = [scanned for scanned in found if scanned.piece.source == rank]
        left_out = [reason for scanned in mine for reason in scanned.left_out]
        if left_out:
            run.note(f"source {source.name}: {len(left_out)} files are no text and left out, such as {left_out[0]}")
        if not any(scanned.segments for scanned in mine):
            raise InvalidData(
                f"source {source.name} ({source.path})", "has no text in it", "give another file or folder"
            )
        if cut := sum(scanned.cut for scanned in mine):
            run.note(f"source {source.name}: long texts were cut at paragraphs, {cut} times")
    return found


def _deduplicated(run: Run, scanned: Sequence[Scanned]) -> tuple[Table, duplicates.States]:
    table = Table([segment for found in scanned for segment in found.segments])
    states = np.full(table.documents, duplicates.KEPT, np.uint8)
    if run.settings.exact or run.settings.near is not None:
        duplicates.mark_exact(table, states)
    if run.settings.near is not None:
        path = run.folder / "states.npy"
        with path.open("wb") as file:
            np.save(file, states, allow_pickle=False)
        task = duplicates.Pairs(table.segments, path, run.settings.near)
        bands = duplicates.bands(table.documents)
        pairs, crowded = [], 0
        for found, left in run.executor.map(task, bands):
            pairs.append(found)
            crowded += left
            run.progress("comparing", len(pairs), len(bands))
        if crowded:
            run.note(f"{crowded} groups hold too many alike documents to compare all: some near duplicates may remain")
        duplicates.mark_near(states, np.concatenate(pairs))
    return table, states


def _tokenizer(run: Run, table: Table, buckets: Sequence[Bucket], made: Path) -> str:
    """Put a tokenizer into the folder; return the SHA-256 of its file."""
    given = run.settings.tokenizer
    if given is None:
        run.progress("training the tokenizer", 0, 1)
        return train_bpe(_first_texts(run, table, buckets), run.settings.vocab_size, made)
    folder = given if given.is_dir() else given.parent
    if not (folder / "tokenizer.json").is_file():
        raise InvalidSetting("tokenizer", str(given), "give a folder with a tokenizer.json")
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, made / name)
    return hashlib.sha256((made / "tokenizer.json").read_bytes()).hexdigest()


def _first_texts(run: Run, table: Table, buckets: Sequence[Bucket]) -> Iterator[str]:
    size = 0
    for bucket in buckets:
        if bucket.split != "train":
            continue
        for _, text in bucket.texts(table.segments):
            yield text.decode()
            size += len(text)
            if size >= run.settings.tokenizer_bytes:
                return

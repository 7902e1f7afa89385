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
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ownlm.errors import InvalidData, InvalidSetting
from ownlm.tokenizer.bpe import train_bpe
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.train.data.counts import source_counts
from ownlm.train.data.encode import Encode, separator_of
from ownlm.train.data.executors import Executor
from ownlm.train.data.manifest import NAME as MANIFEST
from ownlm.train.data.manifest import Manifest
from ownlm.train.data.passes import Note, Progress, Run, deduplicated, opened, scan, unheard
from ownlm.train.data.segment import Table
from ownlm.train.data.shards import ShardWriter, dtype_for
from ownlm.train.data.shuffle import SPLITS, Bucket, Plan
from ownlm.train.data.source import BuildSettings, Source

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                   "generation_config.json")  # fmt: skip


def build(
    sources: Sequence[Source],
    out: Path,
    settings: BuildSettings | None = None,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = unheard,
    note: Note = unheard,
) -> Manifest:
    """Make token shards of the sources in ``out``, which must not exist or be empty.

    ``workers``: processes of this machine, or give an ``executor``. ``progress(stage, done, total)`` and ``note(text)``
    are called as the work goes on. Raises InvalidData (an empty source, a wrong row), InvalidSetting, NotFound,
    MissingExtra, DiskFull; then ``out`` is as it was.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidSetting("out", str(out), "it is there and not empty: give a new folder, or remove it")
    with opened(sources, settings or BuildSettings(), out, workers, executor, progress, note) as run:
        made = run.folder / "made"
        manifest = _build(run, made)
        for file in made.iterdir():  # what was written by way of a temporary file is private
            shutil.copymode(made / manifest.splits["train"][0].file, file)
        _publish(made, out)
    return manifest


def _publish(made: Path, out: Path) -> None:
    """Give the folder its name. Into one that exists (it may be a disk of its own), the manifest goes last."""
    if not out.exists():
        made.replace(out)
        return
    for file in sorted(made.iterdir(), key=lambda file: file.name == MANIFEST):
        file.replace(out / file.name)


def _build(run: Run, made: Path) -> Manifest:
    made.mkdir()
    scanned = scan(run)
    table, states = deduplicated(run, scanned)
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

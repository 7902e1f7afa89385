"""Where text comes from: sources, the files of each, and the settings of a build."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ownlm.errors import InvalidData, InvalidSetting, NotFound

STDIN = "-"

Format = Literal["jsonl", "text", "parquet"]
FORMATS = ("jsonl", "text", "parquet")


@dataclass(frozen=True, slots=True)
class Source:
    """Documents of one kind.

    ``path``: a file, a pipe, a folder (all its files that match ``pattern``, hidden ones left out) or "-", standard
    input. Files are decompressed by their first bytes (gzip, xz, zstd); ``.jsonl`` and ``.ndjson`` are read as rows.
    ``weight``: how many times each document is read; 0.5: half of the documents. ``text``: the field of JSONL, the
    column of Parquet. ``split``: "valid" makes the whole source validation text, and its like is dropped from training.
    ``format``: found from the files if None. ``separator``: what ends a document of text; a file is one if None.
    """

    name: str
    path: Path | Literal["-"]
    licence: str | None = None
    weight: float = 1.0
    text: str = "text"
    split: Literal["train", "valid"] = "train"
    format: Format | None = None
    separator: str | None = None
    pattern: str = "*"

    def __post_init__(self) -> None:
        where = f"source {self.name!r}:"
        if not self.name:
            raise InvalidSetting("name", self.name, "give each source a name")
        if not (math.isfinite(self.weight) and 0 < self.weight <= 1000):
            raise InvalidSetting(f"{where} weight", self.weight, "give more than 0 and at most 1000")
        if self.split not in ("train", "valid"):
            raise InvalidSetting(f"{where} split", self.split, "give train or valid")
        if self.format not in (None, *FORMATS):
            raise InvalidSetting(f"{where} format", self.format, f"give one of {', '.join(FORMATS)}")
        if self.separator == "":
            raise InvalidSetting(f"{where} separator", self.separator, "give at least one character")

    def files(self) -> list[Path]:
        """The files in order of their names. Raises NotFound."""
        if self.path == STDIN:
            raise InvalidSetting(f"source {self.name!r}: path", STDIN, "standard input is copied to a file first")
        path = Path(self.path)
        if not path.exists():
            raise NotFound(f"{path} is not there: give a file, a folder, or - for standard input")
        if not path.is_dir():
            return [path]
        found = [
            Path(folder) / name
            for folder, _, names in os.walk(path, onerror=_unreadable)
            if not any(part.startswith(".") for part in Path(folder).relative_to(path).parts)
            for name in names
            if not name.startswith(".") and Path(name).match(self.pattern)
        ]
        found = sorted((file for file in found if file.is_file()), key=lambda file: file.relative_to(path).parts)
        if not found:
            raise NotFound(f"{path} has no file that matches {self.pattern!r}: give another folder or pattern")
        return found


def _unreadable(error: OSError) -> None:
    raise InvalidData(error.filename, f"cannot be read ({error.strerror})", "give a folder that can be") from None


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """``vocab_size``: of the tokenizer that is trained, on the first ``tokenizer_bytes`` of the shuffled text; or
    ``tokenizer``: a folder that has one. ``valid``: the share of documents that are set aside. ``exact``: drop
    documents that are the same byte for byte. ``near``: drop those whose estimated Jaccard similarity (runs of five
    words) with an earlier one is at least so high; None keeps them. The same texts, settings and seed give the same
    shards, byte for byte.
    """

    vocab_size: int = 16384
    tokenizer: Path | None = None
    tokenizer_bytes: int = 64 << 20
    valid: float = 0.005
    seed: int = 0
    exact: bool = True
    near: float | None = 0.8
    shard_tokens: int = 1 << 26
    bucket_bytes: int = field(default=32 << 20, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.valid < 1:
            raise InvalidSetting("valid", self.valid, "give a share from 0 to below 1")
        if self.near is not None and not 0.5 <= self.near <= 1:
            raise InvalidSetting("near", self.near, "give a similarity from 0.5 to 1")
        if not 0 <= self.seed < 1 << 63:
            raise InvalidSetting("seed", self.seed, "give a number from 0 to 2^63 - 1")
        for name in ("tokenizer_bytes", "shard_tokens", "bucket_bytes"):
            if getattr(self, name) < 1:
                raise InvalidSetting(name, getattr(self, name), "give at least 1")


def check_names(sources: Sequence[Source]) -> None:
    """Raises InvalidSetting unless there are sources, each with a name of its own."""
    if not sources:
        raise InvalidSetting("sources", [], "give at least one file or folder")
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidSetting("name", twice, "two sources have it: name one of them otherwise, as NAME=PATH")

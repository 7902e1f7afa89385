"""``manifest.json`` of a folder of token shards: what is in it, from where, under which licence, with which hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidData, NotFound
from ownlm.files import atomic_json

FORMAT = "ownlm-tokens-1"
NAME = "manifest.json"
AGAIN = "build the shards again"


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file of ids. ``bytes`` are the UTF-8 bytes of the text, without the separators that ``tokens`` counts too."""

    file: str
    tokens: int
    documents: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """What became of a source.

    Every document that was ``read`` is counted once among ``empty``, ``duplicates_exact``, ``duplicates_near``,
    ``left_out`` (a weight below 1) and ``kept``. ``documents``, ``bytes`` (of text) and ``tokens`` (with separators)
    are what the shards hold, repetitions included. ``cut``: how often a text that was too long was cut in two.
    ``files_left_out``: files of a folder that are no text. ``sha256``: of the texts that were read, in order.
    """

    name: str
    licence: str | None = None
    weight: float = 1.0
    split: str = "train"
    files: int = 0
    files_left_out: int = 0
    read: int = 0
    read_bytes: int = 0
    empty: int = 0
    cut: int = 0
    duplicates_exact: int = 0
    duplicates_near: int = 0
    left_out: int = 0
    kept: int = 0
    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """``dtype``: uint16 or uint32, little-endian. ``separator``: the id after every document."""

    dtype: str
    vocab_size: int
    separator: int
    tokenizer_sha256: str
    splits: dict[str, list[ShardFile]]
    sources: list[SourceCounts]
    settings: dict[str, Any] = field(default_factory=dict)

    def tokens(self, split: str) -> int:
        return sum(shard.tokens for shard in self.splits.get(split, []))

    def documents(self, split: str) -> int:
        return sum(shard.documents for shard in self.splits.get(split, []))

    def bytes(self, split: str) -> int:
        return sum(shard.bytes for shard in self.splits.get(split, []))

    def write(self, folder: Path) -> None:
        atomic_json(folder / NAME, {"format": FORMAT} | asdict(self), ensure_ascii=False)

    def sha256(self) -> str:
        """Of the manifest's own content: names this corpus and nothing else."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def load(folder: Path) -> Manifest:
    """Read a folder's manifest. Raises NotFound or InvalidData."""
    path = folder / NAME
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there: make token shards with 'ownlm data build'") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidData(path, f"cannot be read ({error})", AGAIN) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        raise InvalidData(path, f"has the format {found!r}, not {FORMAT!r}", AGAIN)
    try:
        value.pop("format")
        splits = {str(name): [ShardFile(**shard) for shard in shards] for name, shards in value.pop("splits").items()}
        sources = [SourceCounts(**source) for source in value.pop("sources")]
        made = Manifest(**value, splits=splits, sources=sources)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidData(path, f"is no manifest of token shards ({error})", AGAIN) from None
    _check(made, path)
    return made


def _check(made: Manifest, path: Path) -> None:
    """Every field is of its kind, so that who reads it need not ask."""
    shards = [shard for found in made.splits.values() for shard in found]
    for shard in shards:
        if not isinstance(shard.file, str) or Path(shard.file).name != shard.file:
            raise InvalidData(path, f"names a file outside its folder, {shard.file!r}", AGAIN)
    numbers = [made.vocab_size, made.separator, *(getattr(shard, name) for shard in shards for name in _NUMBERS)]
    good = all(type(number) is int and number >= 0 for number in numbers) and isinstance(made.settings, dict)
    good &= made.dtype in ("uint16", "uint32") and all(shard.tokens > 0 for shard in shards if good)
    for source in made.sources:
        for kind in fields(source):
            good &= isinstance(getattr(source, kind.name), _KINDS[str(kind.type)])
    if not good:
        raise InvalidData(path, "is no manifest of token shards", AGAIN)


_NUMBERS = ("tokens", "documents", "bytes")
_KINDS: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "str | None": str | None}

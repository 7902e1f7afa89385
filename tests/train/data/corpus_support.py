"""Small corpora, and what is in a folder of shards as text again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from ownlm.tokenizer import Tokenizer
from ownlm.train.data import manifest
from ownlm.train.data.shards import open_shards

WORDS = [f"{start}{middle}{end}" for start in "bcdfgl" for middle in "aeiou" for end in ("n", "r", "st", "lk")]


def prose(seed: int, words: int = 80) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def altered(text: str, seed: int, share: float) -> str:
    """The text with about this share of its words replaced."""
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) + "x" if chance.random() < share else word for word in text.split(" "))


def jsonl(path: Path, texts: Iterable[str], field: str = "text") -> Path:
    path.write_text("".join(json.dumps({"id": rank, field: text}) + "\n" for rank, text in enumerate(texts)), "utf-8")
    return path


def texts(folder: Path, split: str) -> list[str]:
    """The documents of a split in order, decoded; checks ids, separators and counts against the manifest."""
    made = manifest.load(folder)
    tokenizer = Tokenizer.load(folder)
    found: list[str] = []
    for shard, ids in zip(made.splits[split], open_shards(folder, made, split), strict=True):
        before, size, document = len(found), 0, list[int]()
        for id_ in ids.tolist():
            if id_ == made.separator:
                found.append(tokenizer.decode(document))
                size += len(found[-1].encode())
                document = []
            else:
                document.append(id_)
        assert not document, "a shard ends with a separator"
        assert (shard.documents, shard.tokens, shard.bytes) == (len(found) - before, len(ids), size)
    return found


def both(folder: Path) -> list[str]:
    return texts(folder, "train") + texts(folder, "valid")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def spread(texts: Sequence[str], folder: Path, parts: int) -> Path:
    """The texts in order, over several files of a folder."""
    folder.mkdir()
    for part in range(parts):
        share = texts[len(texts) * part // parts : len(texts) * (part + 1) // parts]
        if share:
            jsonl(folder / f"{part:03}.jsonl", share)
    return folder

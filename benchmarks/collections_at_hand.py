"""Public collections under $OWNLM_DATA, as documents, queries and what is relevant to them."""

from __future__ import annotations

import csv
import json
import lzma
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.rag.types import Extracted


@dataclass(frozen=True, slots=True)
class Collection:
    """``relevant[i]`` maps document indices to their grade for ``queries[i]``."""

    name: str
    documents: list[tuple[str, Extracted]]
    queries: list[str]
    relevant: list[dict[int, int]]


def data_folder() -> Path:
    """$OWNLM_DATA, or exit with code 2 and say so."""
    folder = os.environ.get("OWNLM_DATA", "")
    if not folder or not Path(folder).is_dir():
        print("OWNLM_DATA names no folder: docs/data.md says where the public sets come from", file=sys.stderr)
        raise SystemExit(2)
    return Path(folder)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a ``.jsonl.xz`` file; exit with code 2 where it is missing."""
    if not path.is_file():
        print(f"{path.name} is not in {path.parent}: docs/data.md names its source", file=sys.stderr)
        raise SystemExit(2)
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def squad(path: Path, *, titles: bool = True) -> Collection:
    """All distinct paragraphs of a SQuAD file; every answerable question is a query for its own paragraph."""
    rows = list(json_lines(path))
    paragraphs = list(dict.fromkeys((row["title"], row["context"]) for row in rows))
    number = {paragraph: index for index, paragraph in enumerate(paragraphs)}
    asked = [row for row in rows if row["answerable"]]
    return Collection(
        path.name.split(".")[0],
        [
            (f"{index:05d}", Extracted(text, title.replace("_", " ") if titles else "", "text/plain"))
            for index, (title, text) in enumerate(paragraphs)
        ],
        [row["question"] for row in asked],
        [{number[row["title"], row["context"]]: 1} for row in asked],
    )


def beir(folder: Path) -> Collection:
    """A collection in BEIR's layout: corpus and queries as JSON lines, judgements as a table."""
    corpus = list(json_lines(folder / "corpus.jsonl.xz"))
    number = {row["_id"]: index for index, row in enumerate(corpus)}
    judged: dict[str, dict[int, int]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[number[row["corpus-id"]]] = int(row["score"])
    queries = [row for row in json_lines(folder / "queries.jsonl.xz") if any(judged.get(row["_id"], {}).values())]
    return Collection(
        folder.name,
        [
            (f"{index:05d}", Extracted(row["text"].strip() or row["title"], row["title"], "text/plain"))
            for index, row in enumerate(corpus)
        ],
        [row["text"] for row in queries],
        [judged[row["_id"]] for row in queries],
    )

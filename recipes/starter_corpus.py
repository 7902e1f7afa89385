"""The starter's text: one file of documents a source, then a tokenizer and token shards.

``python recipes/starter_corpus.py --data FOLDER --out FOLDER`` writes ``OUT/text/NAME.jsonl`` with a table beside each,
and ``OUT/shards``; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any, Literal

from starter_clean import Development
from starter_sources import SOURCES, Source, documents

from ownlm.cli.output import note
from ownlm.files import atomic_write
from ownlm.train import data
from ownlm.train.data import manifest
from ownlm.train.data.manifest import Manifest

Size = Literal["small", "large"]
VOCABULARY: dict[Size, int] = {"small": 6144, "large": 8192}
"""Measured on the small corpus: 4096, 6144 and 8192 tokens hold 3.29, 3.54 and 3.71 bytes each. Layers of 3.1 million
weights and a tied head 256 wide then cost 1.27, 1.32 and 1.41 million multiplications a byte: 6144 reads 8 % more text
than 4096 in as many tokens for 4 % more work. The large one is as large as 45 MB at four bits leave room for."""
SHARD_TOKENS = 9_500_000
"""A file of shards stays below 20 MiB, the most that is carried to a borrowed machine in one piece."""
VALID = 0.005


def gather(folder: Path, out: Path, size: Size) -> list[dict[str, Any]]:
    """Write every source's documents below ``out/text``; its rows say name, licence, documents, bytes, left_out.

    Sources that the folder lacks are named on stderr and left out: a folder with a part of the sets still works.
    """
    development: Development | None = None
    table: list[dict[str, Any]] = []
    for source in SOURCES:
        megabytes = source.small if size == "small" else source.large
        if not megabytes:
            continue
        if source.needs is not None and not (folder / f"{source.needs}.jsonl.xz").is_file():
            note(f"{source.name}: {source.needs} is not in {folder}; left out")
            continue
        said = out / "text" / f"{source.name}.json"
        if not said.is_file():
            development = development or Development.of(folder)
            _write(source, folder, development, megabytes, out)
        table.append(json.loads(said.read_text(encoding="utf-8")))
    return table


def _write(source: Source, folder: Path, development: Development, megabytes: float, out: Path) -> None:
    kept = size = left_out = 0
    with atomic_write(out / "text" / f"{source.name}.jsonl") as file:
        for text, shared in documents(source, folder, development, megabytes):
            if shared:
                left_out += 1
                continue
            file.write(json.dumps({"text": text}, ensure_ascii=False).encode("utf-8") + b"\n")
            kept += 1
            size += len(text.encode("utf-8"))
    row = {"name": source.name, "licence": source.licence, "credit": source.credit, "documents": kept, "bytes": size,
           "shares_words_with_a_development_set": left_out}  # fmt: skip
    with atomic_write(out / "text" / f"{source.name}.json") as file:
        file.write(json.dumps(row, indent=1).encode("utf-8"))
    note(f"{source.name}: {kept} documents, {size / 1e6:.1f} MB, {left_out} left out")


def shards(out: Path, size: Size, table: list[dict[str, Any]]) -> Manifest:
    """Build ``out/shards`` of the texts that were gathered."""
    if (out / "shards" / manifest.NAME).is_file():
        return manifest.load(out / "shards")
    sources = [data.Source(row["name"], out / "text" / f"{row['name']}.jsonl", licence=row["licence"]) for row in table]
    settings = data.BuildSettings(vocab_size=VOCABULARY[size], valid=VALID, shard_tokens=SHARD_TOKENS)
    return data.build(sources, out / "shards", settings, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("OWNLM_DATA"), help="folder laid out as docs/data.md"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/starter"))
    parser.add_argument("--size", choices=("small", "large"), default="small")
    given = parser.parse_args()
    if given.data is None:
        raise SystemExit("say where the data is, with --data or OWNLM_DATA")
    made = shards(given.out, given.size, gather(given.data, given.out, given.size))
    note(f"{made.tokens('train'):,} tokens, {made.bytes('train') / made.tokens('train'):.2f} bytes each")


if __name__ == "__main__":
    main()

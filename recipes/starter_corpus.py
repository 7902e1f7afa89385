"""The starter's text, gathered: one file of documents a source, and a table of what is in it.

``python recipes/starter_corpus.py --data FOLDER --out FOLDER`` writes ``OUT/text/NAME.jsonl`` and ``OUT/sources.json``;
a source that is there already is not made again.
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

Size = Literal["small", "large"]


def gather(data: Path, out: Path, size: Size) -> list[dict[str, Any]]:
    """Write every source's documents below ``out/text``; its rows say name, licence, documents, bytes, left_out.

    Sources that the data folder lacks are named on stderr and left out: a folder with a part of the sets still works.
    """
    development: Development | None = None
    table: list[dict[str, Any]] = []
    for source in SOURCES:
        megabytes = source.small if size == "small" else source.large
        if not megabytes:
            continue
        if source.needs is not None and not (data / f"{source.needs}.jsonl.xz").is_file():
            note(f"{source.name}: {source.needs} is not in {data}; left out")
            continue
        said = out / "text" / f"{source.name}.json"
        if not said.is_file():
            development = development or Development.of(data)
            _write(source, data, development, megabytes, out)
        table.append(json.loads(said.read_text(encoding="utf-8")))
    return table


def _write(source: Source, data: Path, development: Development, megabytes: float, out: Path) -> None:
    kept = size = left_out = 0
    with atomic_write(out / "text" / f"{source.name}.jsonl") as file:
        for text, shared in documents(source, data, development, megabytes):
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
    gather(given.data, given.out, given.size)


if __name__ == "__main__":
    main()

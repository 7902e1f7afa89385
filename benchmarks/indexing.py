"""How fast documents are indexed, indexed again when nothing changed, and searched.

    python benchmarks/indexing.py [FOLDER] [--documents 200] [--vectors 10000 100000 300000] [--json]

Without FOLDER, documents of made-up prose are written to a temporary folder (the same ones every time). Everything
runs through the parts that ``ownlm up`` uses: the readers' process, the encoder that ships, the store on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ownlm import native
from ownlm.engine.embedder import Embedder
from ownlm.rag.store import FILE, FileState, Store, Version
from ownlm.rag.sync import sync
from ownlm.rag.types import Chunk, Extracted

SYLLABLES = [first + last for first in "kldrvsmtpgnhbfj" for last in ("a", "el", "in", "o")]
DIMENSION = 384
CHUNKS = 100


def vocabulary(chance: random.Random, size: int = 4000) -> list[str]:
    """Made-up words."""
    return ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(size)]


def prose(chance: random.Random, words: list[str], sentences: int) -> str:
    """Sentences of 8 to 24 words, the frequent ones frequent, as in Zipf's law."""
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return " ".join(
        " ".join(chance.choices(words, weights, k=chance.randint(8, 24))).capitalize() + "." for _ in range(sentences)
    )


def write_documents(folder: Path, documents: int) -> None:
    """Markdown of about 8 KB each: a title, five sections, three paragraphs in each."""
    chance = random.Random(20)
    words = vocabulary(chance)
    for number in range(documents):
        parts = [f"# Paper {number}"]
        for section in range(5):
            parts.append(f"## Part {section} of {words[chance.randrange(len(words))]}")
            parts += [prose(chance, words, chance.randint(3, 8)) for _ in range(3)]
        (folder / f"{number:05}.md").write_text("\n\n".join(parts), encoding="utf-8")


def indexing(folder: Path, home: Path) -> dict[str, Any]:
    """One pass over a folder, and one more."""
    embedder = Embedder.load()
    embedder.encode(["warm up"])
    with Store.open(home) as store:
        report = sync(store, embedder, [folder])
        characters = store.counts()["characters"]
        size = sum(document.size for document in store.documents())
        again = sync(store, embedder, [folder])
    return {
        "documents": report.added,
        "skipped": len(report.skipped),
        "file MB": size / 1e6,
        "text MB": characters / 1e6,
        "chunks": report.chunks,
        "seconds": report.seconds,
        "documents/s": report.added / report.seconds,
        "text MB/s": characters / 1e6 / report.seconds,
        "chunks/s": report.chunks / report.seconds,
        "index MB": (home / FILE).stat().st_size / 1e6,
        "again, nothing changed, s": again.seconds,
        "again, documents/s": (again.unchanged + len(again.skipped)) / again.seconds,
    }


def timed(runs: int, call: Callable[[], object]) -> float:
    """The median of some runs, in milliseconds."""
    spans = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        spans.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(spans)


def searching(home: Path, vectors: int) -> dict[str, Any]:
    """Latency of each kind of search over a store of so many chunks, with random unit vectors."""
    chance, numbers = random.Random(1), np.random.default_rng(1)
    words = vocabulary(chance)
    pool = [prose(chance, words, 6) for _ in range(300)]
    with Store.open(home) as store:
        begin = time.perf_counter()
        for number in range(vectors // CHUNKS):
            pieces = chance.choices(pool, k=CHUNKS)
            ends = np.cumsum([len(piece) + 2 for piece in pieces])
            text = "\n\n".join(pieces) + "\n\n"
            matrix = numbers.standard_normal((CHUNKS, DIMENSION)).astype(np.float32)
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            store.put(
                Version(
                    name=f"/made/{number}",
                    state=FileState(len(text), 1, 1),
                    sha256=str(number),
                    extracted=Extracted(text, f"Paper {number}", "text/plain"),
                    chunks=[
                        Chunk(int(end) - len(piece) - 2, int(end) - 2) for piece, end in zip(pieces, ends, strict=True)
                    ],
                    vectors=matrix,
                    fingerprint="made",
                )
            )
        filled = time.perf_counter() - begin
        query = matrix[7] + 0.03 * numbers.standard_normal(DIMENSION).astype(np.float32)
        query /= np.linalg.norm(query)
        terms = chance.sample(words[300:2000], 6)
        some = [document.id for document in store.documents()][: max(1, vectors // CHUNKS // 20)]
        first = timed(1, lambda: store.search_vectors(query, 50))
        found = [chunk for chunk, _ in store.search_vectors(query, 50)]
        changed = pieces[0]

        def after_a_change() -> None:
            nonlocal changed
            changed += " more."
            store.put(
                Version(
                    "/made/one", FileState(1, 1, 1), changed, Extracted(changed, "", "text/plain"),
                    [Chunk(0, len(changed))], matrix[:1], "made",
                )
            )  # fmt: skip
            store.search_vectors(query, 50)

        return {
            "vectors": vectors,
            "written, chunks/s": vectors / filled,
            "first search (loads vectors), ms": first,
            "vectors, ms": timed(15, lambda: store.search_vectors(query, 50)),
            "vectors in 5 % of documents, ms": timed(15, lambda: store.search_vectors(query, 50, some)),
            "vectors after a document changed, ms": timed(5, after_a_change),
            "words (6 terms), ms": timed(15, lambda: store.search_words(terms, 50)),
            "words in 5 % of documents, ms": timed(15, lambda: store.search_words(terms, 50, some)),
            "50 passages, ms": timed(15, lambda: store.passages(found)),
            "removal of a document, ms": timed(3, lambda: store.remove([store.documents()[0].id])),
        }


def shown(results: dict[str, Any]) -> str:
    """One line a figure."""
    return "\n".join(
        f"  {name:40} {value:>12,.3g}" if isinstance(value, float) else f"  {name:40} {value:>12,}"
        for name, value in results.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="documents to index; made up when left out")
    parser.add_argument("--documents", type=int, default=200, help="how many are made up (default 200)")
    parser.add_argument(
        "--vectors", type=int, nargs="*", default=[10_000, 100_000, 300_000], help="sizes of the search test"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if options.folder is not None and not options.folder.exists():
        print(f"there is no file or folder {options.folder}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"threads": native.threads(), "isa": native.isa(), "processors": os.cpu_count()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder
        if folder is None:
            folder = Path(scratch) / "documents"
            folder.mkdir()
            write_documents(folder, options.documents)
        results["indexing"] = indexing(folder, Path(scratch) / "home")
        results["searching"] = []
        for vectors in options.vectors:
            results["searching"].append(searching(Path(scratch) / f"home-{vectors}", vectors))
            (Path(scratch) / f"home-{vectors}" / FILE).unlink()
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    print(f"{results['processors']} processors, {results['threads']} threads, {results['isa']}")
    print("indexing\n" + shown(results["indexing"]))
    for row in results["searching"]:
        print("searching\n" + shown(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())

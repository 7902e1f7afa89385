"""Retrieval on public collections: words alone, vectors alone, plain rank fusion, and what OwnLM does.

    OWNLM_DATA=... python benchmarks/retrieval.py [--json FILE]

SQuAD: all distinct paragraphs of the development half, every answerable question looks for its own paragraph.
Cranfield and CISI: graded judgements, nDCG@10 with gain = grade. The figures repeat to the digit.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from collections_at_hand import Collection, beir, data_folder, squad
from ownlm.engine.embedder import Embedder
from ownlm.rag.fusion import reciprocal_ranks
from ownlm.rag.query import read_query
from ownlm.rag.retrieve import Retriever
from ownlm.rag.store import Store
from ownlm.rag.texts import put_texts

DEPTH = 100


def ndcg(found: Sequence[int], relevant: dict[int, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of the first ``depth`` documents."""
    gains = [relevant.get(document, 0) for document in found[:depth]]
    ideal = sorted(relevant.values(), reverse=True)[:depth]
    return _discounted(gains) / _discounted(ideal)


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def measure(found: Sequence[Sequence[int]], relevant: Sequence[dict[int, int]]) -> dict[str, float]:
    """Mean recall@1, @5 and @10, MRR@10 and nDCG@10."""
    result: dict[str, float] = {}
    for depth in (1, 5, 10):
        shares = [
            sum(document in wanted for document in documents[:depth]) / len(wanted)
            for documents, wanted in zip(found, ({d for d, g in r.items() if g} for r in relevant), strict=True)
        ]
        result[f"recall@{depth}"] = statistics.fmean(shares)
    ranks = [
        next((rank for rank, document in enumerate(documents[:10], 1) if grades.get(document)), math.inf)
        for documents, grades in zip(found, relevant, strict=True)
    ]
    result["MRR@10"] = statistics.fmean(1 / rank for rank in ranks)
    result["nDCG@10"] = statistics.fmean(ndcg(d, r) for d, r in zip(found, relevant, strict=True))
    return result


def run(collection: Collection, embedder: Embedder) -> dict[str, dict[str, float]]:
    """The measures of each method on one collection."""
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        ids = put_texts(store, embedder, collection.documents)
        number = {document: index for index, document in enumerate(ids)}
        with store.reading() as connection:
            of_chunk = {
                chunk: number[document] for chunk, document in connection.execute("SELECT id, document_id FROM chunks")
            }
        found: dict[str, list[list[int]]] = {"BM25": [], "dense": [], "rank fusion": [], "OwnLM": []}
        retriever = Retriever(store, embedder)
        vectors = embedder.encode(collection.queries, truncate=True)
        began = time.perf_counter()
        for query, vector in zip(collection.queries, vectors, strict=True):
            words = [chunk for chunk, _ in store.search_words(read_query(query).keywords, DEPTH)]
            dense = [chunk for chunk, _ in store.search_vectors(vector, DEPTH)]
            fused = [chunk for chunk, _ in reciprocal_ranks([words, dense])]
            for name, chunks in (("BM25", words), ("dense", dense), ("rank fusion", fused)):
                found[name].append(_distinct(of_chunk[chunk] for chunk in chunks))
        middle = time.perf_counter()
        for query in collection.queries:
            passages = retriever.retrieve(query, 20).passages
            found["OwnLM"].append(_distinct(number[passage.document_id] for passage in passages))
        end = time.perf_counter()
    count = len(collection.queries)
    print(
        f"{collection.name}: {len(collection.documents)} documents, {len(of_chunk)} chunks, {count} queries; "
        f"a query takes {1000 * (end - middle) / count:.1f} ms (baselines {1000 * (middle - began) / count:.1f} ms)",
        file=sys.stderr,
    )
    return {name: measure(documents, collection.relevant) for name, documents in found.items()}


def _distinct(documents: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(documents))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--ops", default="native", help="which side computes the vectors: native or torch")
    arguments = parser.parse_args()
    data = data_folder()
    embedder = Embedder.load(ops=arguments.ops)
    report = {}
    for collection in (
        squad(data / "grounded_qa" / "squad2_dev.jsonl.xz"),
        beir(data / "retrieval" / "cranfield"),
        beir(data / "retrieval" / "cisi"),
    ):
        report[collection.name] = run(collection, embedder)
        names = list(report[collection.name]["OwnLM"])
        print(f"{collection.name:14}" + "".join(f"{name:>11}" for name in names))
        for method, figures in report[collection.name].items():
            print(f"  {method:12}" + "".join(f"{figures[name]:11.4f}" for name in names))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

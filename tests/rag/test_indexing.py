"""From files to passages with the model that ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexing_support import assert_whole
from ownlm.engine.embedder import Embedder
from ownlm.rag import chunk
from ownlm.rag.store import Store
from ownlm.rag.sync import sync

ROOT = Path(__file__).parents[2]
PAPERS = {
    "fees.md": "# Workshop\n\n## Fees\n\nMembers pay 12 pounds a month. Guests pay 5 pounds a day.\n\n"
    "## Safety\n\nWear goggles at the lathe. The first-aid box hangs by the door.",
    "roof.txt": "Minutes of May.\n\nThe roof above the hall leaks. Mending it is planned for autumn.",
    "prices.csv": "Item,Price\nOak plank,12.50\nBrass hinge,3.20\n",
    "привет.txt": "Председатель подписывает договор аренды. Он платит двенадцать фунтов в месяц.",
}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load()


def test_documents_are_found_by_meaning(tmp_path: Path, embedder: Embedder) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    for name, text in PAPERS.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Store.open(tmp_path / "home") as store:
        report = sync(store, embedder, [folder])
        assert (report.added, report.skipped) == (4, ())
        assert_whole(store)
        for question, words in {
            "How much does it cost to use the shop tools?": "12 pounds a month",
            "What protects my eyes?": "goggles",
            "Is water coming in from above?": "roof above the hall leaks",
            "How expensive is wood?": "Oak plank",
        }.items():
            found = store.search_vectors(embedder.encode([question])[0], 2, fingerprint=embedder.fingerprint)
            passages = store.passages([id for id, _ in found])
            assert any(words in passage.text for passage in passages), (question, passages)
        ((best, score), *_) = store.search_vectors(embedder.encode(["Wear goggles at the lathe."])[0], 1)
        sentences = store.sentences([best])[best]
        text = store.text(store.passages([best])[0].document_id)
        nearest = sentences.cosines(embedder.encode(["Wear goggles at the lathe."])[0]).argmax()
        assert text[slice(*sentences.spans[nearest])] == "Wear goggles at the lathe." and score > 0.5
        assert [d.name for d in store.documents() if d.notes] == [str(folder / "привет.txt")]


def test_int8_vectors_keep_the_cosines(embedder: Embedder) -> None:
    from ownlm.rag.store.vectors import quantize

    vectors = embedder.encode(list(PAPERS.values()) * 2)
    codes, scales = quantize(vectors)
    assert abs((codes * scales[:, None]) @ vectors.T - vectors @ vectors.T).max() < 0.003


def test_our_own_documentation_fits_the_encoder(embedder: Embedder) -> None:
    """Real files, with code, tables and links: nothing is longer than the encoder reads."""
    from ownlm.rag.readers import ReaderPool

    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/ownlm/rag/*.py")]
    with ReaderPool() as pool:
        for path in files:
            if path.stat().st_size == 0:
                continue
            extracted = pool.extract(path).extracted
            for piece in chunk.chunks(extracted, embedder):
                text = extracted.text[piece.start : piece.end]
                embedded = chunk.embedded_text(extracted.title, piece.heading, text, embedder)
                assert embedder.count_tokens(embedded) <= chunk.LIMIT <= embedder.max_length - 2


def test_the_benchmark_runs() -> None:
    command = [sys.executable, "benchmarks/indexing.py", "--documents", "2", "--vectors", "1000"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert "chunks/s" in result.stdout and "vectors, ms" in result.stdout
    assert subprocess.run([*command[:2], "/nowhere"], cwd=ROOT, capture_output=True).returncode == 2

"""What a model computed of documents outlives its process, serves the next question on them, and goes when they go."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ownlm.engine import kv_folder
from ownlm.engine.kv_folder import FOLDER
from ownlm.engine.kv_segment import Segment
from ownlm.engine.llm import LLM
from ownlm.errors import StoreError
from ownlm.rag.generate.answer import GenerateSettings
from ownlm.rag.generate.generator import LocalGenerator
from ownlm.rag.library import Library
from ownlm.rag.types import Answer

sys.path += [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "tokenizer")]

from kv_support import every_byte
from tiny_llm import write_tiny_llm

FEES = "# Fees\n\n" + " ".join(f"The fee of year {year} is £{year - 1900}." for year in range(1984, 2000)) + "\n"
GATE = "# Gate\n\nThe code of the gate is hushabye. It is changed in May. Tell it to nobody but members.\n"
QUESTIONS = ["What is the code of the gate?", "When is the code changed?"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llm(tmp_path_factory.mktemp("model"), max_position_embeddings=4096)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "fees.md").write_text(FEES)
    (docs / "gate.md").write_text(GATE)
    with Library.open(tmp_path / "home") as library:
        library.sync([docs])
    return tmp_path / "home"


def ask(home: Path, model: Path, question: str, **settings: Any) -> Answer:
    """A process of its own."""
    with Library.open(home) as library, LLM(model, context=4096, store=home / FOLDER) as llm:
        return library.write(question, LocalGenerator(llm), settings=GenerateSettings(max_tokens=20, **settings))


def kept(home: Path) -> Iterator[Segment]:
    return map(Segment, (home / FOLDER).rglob("*.kv"))


def ids_of(model: Path, text: str) -> bytes:
    with LLM(model, context=64) as llm:
        return array("i", llm.tokenizer.encode(text)).tobytes()


def test_the_second_question_computes_only_itself(home: Path, model: Path) -> None:
    first, again, other = (ask(home, model, question) for question in (*QUESTIONS[:1], *QUESTIONS))
    assert first.usage["cached_tokens"] == 0 and first.usage["first_difference"] == 0
    assert (again.answer, again.claims) == (first.answer, first.claims)
    prompt = again.usage["prompt_tokens"]
    assert again.usage["from_disk"] == again.usage["cached_tokens"] >= prompt - 16 and again.usage["from_memory"] == 0
    assert again.usage["first_difference"] is None
    assert other.usage["from_disk"] >= prompt - 16 - len(QUESTIONS[0])  # of this tokenizer, at most a token a letter
    assert other.usage["cached_tokens"] <= other.usage["first_difference"] < other.usage["prompt_tokens"]
    assert [passage.document for passage in other.passages] == [passage.document for passage in first.passages]


def test_short_documents_are_read_whole_and_in_their_order(home: Path, model: Path) -> None:
    found = ask(home, model, QUESTIONS[0], passages=1)
    with Library.open(home) as library:
        whole = library.store.whole(None, 8000)
        assert library.store.whole(None, 10) == [] and library.store.whole([whole[0].document_id], 8000)
    assert {(p.document, p.start) for p in found.passages} == {(p.document, p.start) for p in whole}
    assert len(ask(home, model, QUESTIONS[0], passages=1, whole=0).passages) == 1
    scores = [passage.score for passage in found.passages]
    assert scores == sorted(scores, reverse=True) or not found.abstained


def test_blocks_belong_to_the_documents_before_them(home: Path, model: Path) -> None:
    ask(home, model, QUESTIONS[0])
    with Library.open(home) as library:
        tags = {Path(d.name).name: library.store.tags([d.id])[d.id] for d in library.documents()}
    owners = {segment.tags for segment in kept(home)}
    assert owners == {frozenset(), frozenset([tags["fees.md"]]), frozenset(tags.values())} or owners == {
        frozenset([tags["fees.md"]]), frozenset(tags.values())}  # fmt: skip


def test_a_removed_document_leaves_no_byte_of_what_was_computed_of_it(home: Path, model: Path) -> None:
    ask(home, model, QUESTIONS[0])
    secret = ids_of(model, "hushabye")
    before = every_byte(home)
    assert secret in before and b"hushabye" in before
    with Library.open(home) as library:
        tag, other = (library.store.tags([library.document(name).id]).popitem()[1] for name in ("gate.md", "fees.md"))
    data = [
        segment.data(at, 1).tobytes()
        for segment in kept(home) if tag in segment.tags for at in range(len(segment.blocks))
    ]  # fmt: skip
    assert data and all(block in before for block in data)
    with Library.open(home) as library:
        library.remove(["gate.md"])
    after = every_byte(home)
    assert secret not in after and b"hushabye" not in after and tag.encode() not in after
    assert not any(block in after for block in data)
    assert any(other in segment.tags for segment in kept(home)), "more was removed than was asked for"


def test_a_new_version_of_a_document_leaves_nothing_of_the_old_one(home: Path, model: Path) -> None:
    ask(home, model, QUESTIONS[0])
    secret = ids_of(model, "hushabye")
    (home.parent / "docs" / "gate.md").write_text(GATE.replace("hushabye", "lullaby"))
    with Library.open(home) as library:
        library.sync([home.parent / "docs"])
    assert secret not in every_byte(home / FOLDER)
    ask(home, model, QUESTIONS[0])
    assert ids_of(model, "lullaby") in every_byte(home)
    (home.parent / "docs" / "gate.md").unlink()
    with Library.open(home) as library:
        library.sync([home.parent / "docs"])
    assert ids_of(model, "lullaby") not in every_byte(home)


def test_what_a_crash_kept_from_being_removed_goes_when_the_index_is_opened(
    home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(home, model, QUESTIONS[0])
    secret = ids_of(model, "hushabye")

    def fails(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kv_folder, "purge", fails)
    with Library.open(home) as library, pytest.raises(StoreError, match="could not be removed"):
        library.remove(["gate.md"])
    assert secret in every_byte(home)
    monkeypatch.undo()
    Library.open(home).close()
    assert secret not in every_byte(home)


def test_a_model_that_cannot_forget_is_a_store_error(home: Path) -> None:
    def fails(tag: str) -> None:
        raise OSError(28, "No space left on device")

    with Library.open(home) as library:
        library.store.on_purge.append(fails)
        with pytest.raises(StoreError, match="could not be removed"):
            library.remove(["gate.md"])
        library.store.on_purge.clear()
        library.store.purge()
        assert [Path(document.name).name for document in library.documents()] == ["fees.md"]


def test_a_model_that_runs_forgets_too(home: Path, model: Path) -> None:
    with Library.open(home) as library, LLM(model, context=4096) as llm:
        library.store.on_purge.append(llm.engine.purge)
        writer = LocalGenerator(llm)
        settings = GenerateSettings(max_tokens=4)
        library.write(QUESTIONS[0], writer, settings=settings)
        again = library.write(QUESTIONS[0], writer, settings=settings)
        prompt, cached = again.usage["prompt_tokens"], again.usage["cached_tokens"]
        assert cached >= prompt - 16 and again.usage["from_memory"] == cached
        ids = library.entry(again.ledger_id).settings["prompt_ids"]
        library.remove(["fees.md"])
        handle = llm.engine.submit(ids, llm.params(max_tokens=1))
        assert handle.get() is not None and handle.cached_tokens < prompt / 2

"""Indexing: only what changed is opened, what was deleted goes, and nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexing_support import HashEncoder, assert_whole
from ownlm.errors import NotFound, StoreFull, UnreadableDocument
from ownlm.rag import sync_work
from ownlm.rag.readers import Limits
from ownlm.rag.store import Store
from ownlm.rag.sync import sync
from ownlm.rag.types import Progress, SyncReport

OLD = 1_600_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home") as store:
        yield store


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    write(folder / "fees.txt", "The workshop costs 12 pounds a month.")
    write(folder / "minutes" / "may.txt", "The committee met in May. The roof was discussed.")
    write(folder / "minutes" / "june.md", "# June\n\nThe roof is mended.")
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened."""
    names: list[str] = []
    snapshot = sync_work.snapshot

    def noted(path: Any, limits: Any = None) -> Any:
        names.append(Path(path).name)
        return snapshot(path, limits)

    monkeypatch.setattr(sync_work, "snapshot", noted)
    return names


def write(path: Path, text: str | bytes, age: int = 0) -> None:
    """Write a file that has been at rest since long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (OLD + age, OLD + age))


def counts(report: SyncReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed


def names(store: Store) -> set[str]:
    return {Path(document.name).name for document in store.documents()}


def test_first_pass_and_a_second_that_opens_nothing(store: Store, docs: Path, opened: list[str]) -> None:
    encoder = HashEncoder()
    report = sync(store, encoder, [docs])
    assert counts(report) == (3, 0, 0, 0) and report.chunks == encoder.encoded == 3 and report.skipped == ()
    assert set(report.documents) == {document.id for document in store.documents()}
    assert sorted(opened) == ["fees.txt", "june.md", "may.txt"]
    opened.clear()
    report = sync(store, encoder, [docs])
    assert counts(report) == (0, 0, 3, 0) and opened == [] and encoder.encoded == 3
    assert_whole(store)


def test_changed_deleted_renamed(store: Store, docs: Path, opened: list[str]) -> None:
    sync(store, HashEncoder(), [docs])
    fees = store.document("fees.txt").id
    opened.clear()
    write(docs / "fees.txt", "The workshop costs 13 pounds a month.", age=1)
    (docs / "minutes" / "may.txt").rename(docs / "minutes" / "may-2024.txt")
    (docs / "minutes" / "june.md").unlink()
    report = sync(store, HashEncoder(), [docs])
    assert counts(report) == (1, 1, 0, 2)
    assert sorted(opened) == ["fees.txt", "may-2024.txt"]
    assert names(store) == {"fees.txt", "may-2024.txt"}
    assert store.document("fees.txt").id == fees and "13 pounds" in store.text(fees)
    assert_whole(store)


def test_touched_but_equal_is_read_once_and_not_made_again(store: Store, docs: Path, opened: list[str]) -> None:
    encoder = HashEncoder()
    sync(store, encoder, [docs])
    generation = store.generation
    os.utime(docs / "fees.txt", (OLD + 9, OLD + 9))
    opened.clear()
    assert counts(sync(store, encoder, [docs])) == (0, 0, 3, 0) and opened == ["fees.txt"]
    opened.clear()
    assert counts(sync(store, encoder, [docs])) == (0, 0, 3, 0) and opened == []
    assert encoder.encoded == 3 and store.generation == generation
    assert store.document("fees.txt").modified == OLD + 9


def test_a_file_changed_just_now_is_looked_at_again(store: Store, docs: Path, opened: list[str]) -> None:
    (docs / "fees.txt").write_text("One price.")
    sync(store, HashEncoder(), [docs])
    stat = (docs / "fees.txt").stat()
    (docs / "fees.txt").write_text("Two price.")
    os.utime(docs / "fees.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert counts(sync(store, HashEncoder(), [docs])) == (0, 1, 2, 0)
    assert store.text(store.document("fees.txt").id).strip() == "Two price."


def test_a_missing_root_is_not_a_deletion(store: Store, docs: Path, tmp_path: Path) -> None:
    first = sync(store, HashEncoder(), [docs])
    docs.rename(tmp_path / "away")
    report = sync(store, HashEncoder(), [docs])
    assert counts(report) == (0, 0, 0, 0) and report.documents == first.documents
    assert any("stay in the index" in note for note in report.notes)
    assert len(store.documents()) == 3


def test_a_root_that_never_was(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        sync(store, HashEncoder(), [tmp_path / "dosc"])


def test_an_emptied_folder_is_emptied(store: Store, docs: Path) -> None:
    sync(store, HashEncoder(), [docs])
    for path in list(docs.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert counts(sync(store, HashEncoder(), [docs])) == (0, 0, 0, 3)


def test_an_empty_mount_point_is_not_a_deletion(store: Store, docs: Path) -> None:
    sync(store, HashEncoder(), [docs])
    with store.transaction() as connection:
        connection.execute("UPDATE roots SET device = device + 1")
    shutil.rmtree(docs)
    docs.mkdir()
    report = sync(store, HashEncoder(), [docs])
    assert counts(report) == (0, 0, 0, 0) and "another disk" in report.notes[0] and len(store.documents()) == 3


def test_other_roots_are_left_alone(store: Store, docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "docs2"
    write(other / "letter.txt", "Dear members.")
    sync(store, HashEncoder(), [docs])
    report = sync(store, HashEncoder(), [other])
    assert counts(report) == (1, 0, 0, 0) and len(report.documents) == 1
    (docs / "fees.txt").unlink()
    sync(store, HashEncoder(), [other])
    assert "fees.txt" in names(store)
    (docs / "minutes" / "may.txt").unlink()
    report = sync(store, HashEncoder(), [docs / "minutes"])
    assert counts(report) == (0, 0, 1, 1) and "fees.txt" in names(store)
    report = sync(store, HashEncoder(), [other / "letter.txt"])
    assert counts(report) == (0, 0, 1, 0)


def test_what_cannot_be_read_is_reported_each_time_and_opened_once(store: Store, docs: Path, opened: list[str]) -> None:
    write(docs / "broken.docx", b"PK\x03\x04 not a zip at all")
    write(docs / "empty.txt", b"")
    report = sync(store, HashEncoder(), [docs])
    assert counts(report) == (3, 0, 0, 0)
    assert [Path(skipped.name).name for skipped in report.skipped] == ["broken.docx", "empty.txt"]
    assert all(skipped.reason for skipped in report.skipped)
    opened.clear()
    again = sync(store, HashEncoder(), [docs])
    assert again.skipped == report.skipped and opened == []
    write(docs / "broken.docx", b"PK\x03\x04 still not", age=1)
    sync(store, HashEncoder(), [docs])
    assert opened == ["broken.docx"]
    (docs / "broken.docx").unlink()
    write(docs / "empty.txt", "Not empty now.", age=1)
    report = sync(store, HashEncoder(), [docs])
    assert report.skipped == () and counts(report) == (1, 0, 3, 0)


def test_a_file_that_could_not_be_opened_is_tried_again(
    store: Store, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Any, limits: Any = None) -> Any:
        raise UnreadableDocument("cannot be opened: permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(sync_work, "snapshot", denied)
        report = sync(store, HashEncoder(), [docs])
        assert len(report.skipped) == 3 and counts(report) == (0, 0, 0, 0)
    assert counts(sync(store, HashEncoder(), [docs])) == (3, 0, 0, 0), "as after chmod, which leaves size and time"


def test_the_old_version_answers_while_the_new_one_cannot_be_read(store: Store, docs: Path) -> None:
    sync(store, HashEncoder(), [docs])
    write(docs / "fees.txt", b"\x00\x01\x02\x00" * 50, age=1)
    report = sync(store, HashEncoder(), [docs])
    assert len(report.skipped) == 1 and "kept" in report.skipped[0].reason
    assert "12 pounds" in store.text(store.document("fees.txt").id)


def test_a_size_limit(store: Store, docs: Path) -> None:
    write(docs / "long.txt", "word " * 5000)
    report = sync(store, HashEncoder(), [docs], limits=Limits(characters=10_000))
    assert [Path(skipped.name).name for skipped in report.skipped] == ["long.txt"] and report.added == 3


def test_another_encoder_makes_every_vector_again_without_opening_a_file(
    store: Store, docs: Path, opened: list[str]
) -> None:
    sync(store, HashEncoder(), [docs])
    texts = {document.name: store.extracted(document.id) for document in store.documents()}
    opened.clear()
    other = HashEncoder(32, "hash-32")
    assert counts(sync(store, other, [docs])) == (0, 3, 0, 0) and opened == [] and other.encoded == 3
    assert {document.name: store.extracted(document.id) for document in store.documents()} == texts
    assert len(store.search_vectors(other.encode(["roof"])[0], 9, fingerprint="hash-32")) == 3
    assert_whole(store)


def test_text_the_encoder_does_not_know(store: Store, docs: Path) -> None:
    write(docs / "dogovor.txt", "Председатель подписывает договор аренды. Он платит двенадцать фунтов в месяц.")
    sync(store, HashEncoder(), [docs])
    document = store.document("dogovor.txt")
    assert any("language that the encoder does not know" in note for note in document.notes)
    ((chunk, _),) = store.search_trigrams(["договора"], 5)
    assert store.passages([chunk])[0].document_id == document.id
    assert store.document("fees.txt").notes == ()


def test_sentences_come_with_their_vectors(store: Store, docs: Path) -> None:
    sync(store, HashEncoder(), [docs])
    document = store.document("may.txt")
    ((chunk, _),) = store.search_words(["committee"], 5)
    kept = store.sentences([chunk])[chunk]
    text = store.text(document.id)
    assert [text[a:b] for a, b in kept.spans] == ["The committee met in May.", "The roof was discussed."]
    query = HashEncoder().encode(["The roof was discussed."])[0]
    assert kept.cosines(query).argmax() == 1 and kept.cosines(query)[1] > 0.99


def test_progress(store: Store, docs: Path) -> None:
    seen: list[Progress] = []
    sync(store, HashEncoder(), [docs], on_progress=seen.append)
    assert seen[0] == Progress(0, 3, 0, "", None)
    assert (seen[-1].done, seen[-1].total, seen[-1].chunks) == (3, 3, 3) and seen[-1].seconds_left == 0
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert all(step.seconds_left is None or step.seconds_left >= 0 for step in seen)


def test_cancelled_between_documents_and_gone_on_later(store: Store, docs: Path) -> None:
    for n in range(40):
        write(docs / f"{n}.txt", f"Document {n}. " * 300)
    report = sync(store, HashEncoder(), [docs], cancel=lambda: store.counts()["documents"] >= 10)
    held = store.counts()["documents"]
    assert 10 <= held < 43 and report.added == held and any("stopped" in note for note in report.notes)
    assert_whole(store)
    assert sync(store, HashEncoder(), [docs]).added == 43 - held


def test_cancelled_at_once(store: Store, docs: Path) -> None:
    assert counts(sync(store, HashEncoder(), [docs], cancel=lambda: True)) == (0, 0, 0, 0)


def test_a_folder_that_cannot_be_listed_is_not_a_deletion(
    store: Store, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(store, HashEncoder(), [docs])
    scandir = os.scandir

    def denied(path: Any) -> Any:
        if Path(path).name == "minutes":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    report = sync(store, HashEncoder(), [docs])
    assert counts(report) == (0, 0, 1, 0) and len(store.documents()) == 3
    assert [Path(skipped.name).name for skipped in report.skipped] == ["minutes"]


def test_what_the_rules_now_leave_out_goes(store: Store, docs: Path) -> None:
    sync(store, HashEncoder(), [docs])
    write(docs / ".ownlmignore", "minutes/\n")
    assert counts(sync(store, HashEncoder(), [docs])) == (0, 0, 1, 2)


def test_a_root_behind_a_link(store: Store, docs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(docs, target_is_directory=True)
    assert len(sync(store, HashEncoder(), [tmp_path / "link"]).documents) == 3
    (docs / "fees.txt").unlink()
    report = sync(store, HashEncoder(), [tmp_path / "link"])
    assert counts(report) == (0, 0, 2, 1) and len(report.documents) == 2
    assert len(sync(store, HashEncoder(), [docs, tmp_path / "link", docs / "minutes"]).documents) == 2


class Interrupting(HashEncoder):
    """Ctrl-C in the middle of embedding."""

    def encode(self, texts: Any, on_progress: Any = None) -> Any:
        if self.encoded > 200:
            raise KeyboardInterrupt
        return super().encode(texts)


def test_ctrl_c(store: Store, docs: Path) -> None:
    for n in range(60):
        write(docs / f"{n}.txt", f"Document {n}. " * 300)
    with pytest.raises(KeyboardInterrupt):
        sync(store, Interrupting(), [docs])
    assert 0 < store.counts()["documents"] < 63
    assert_whole(store)
    assert sync(store, HashEncoder(), [docs]).unchanged > 0
    assert store.counts()["documents"] == 63


def test_two_indexers_at_once(docs: Path, tmp_path: Path) -> None:
    for n in range(60):
        write(docs / f"{n}.txt", f"Document {n}. " * 50)
    results: list[Any] = []

    def work() -> None:
        try:
            with Store.open(tmp_path / "home") as store:
                results.append(sync(store, HashEncoder(), [docs]))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(result, SyncReport) and len(result.documents) == 63 for result in results), results
    with Store.open(tmp_path / "home") as store:
        assert len(store.documents()) == 63
        assert_whole(store)


def test_a_full_disk_keeps_what_came_in(docs: Path, tmp_path: Path) -> None:
    for n in range(60):
        write(docs / f"{n}.txt", f"Document {n} about roof and fee. " * 100)
    with Store.open(tmp_path / "home", max_pages=90) as store:
        with pytest.raises(StoreFull):
            sync(store, HashEncoder(), [docs])
        held = store.counts()["documents"]
        assert 0 < held < 63
        assert_whole(store)
    with Store.open(tmp_path / "home") as store:
        report = sync(store, HashEncoder(), [docs])
        assert (report.added, report.unchanged) == (63 - held, held)


def test_bad_names_and_loops(store: Store, docs: Path) -> None:
    raw = os.fsencode(docs) + b"/caf\xe9.txt"
    try:
        with open(raw, "wb") as file:  # noqa: PTH123 (a name that is not UTF-8)
            file.write(b"The coffee is free.")
    except OSError as error:
        pytest.skip(f"this file system admits UTF-8 names alone: {error}")
    (docs / "loop").symlink_to(docs, target_is_directory=True)
    (docs / "self").symlink_to(docs / "self")
    report = sync(store, HashEncoder(), [docs])
    assert report.added == 4
    name = next(document.name for document in store.documents() if "caf" in document.name)
    assert name.endswith(r"caf\xe9.txt") and store.document(name).id
    assert counts(sync(store, HashEncoder(), [docs]))[0] == 0


def test_one_line_of_a_megabyte_and_one_of_ten(store: Store, docs: Path) -> None:
    write(docs / "line.txt", "word and more " * 75_000)
    write(docs / "longer.txt", "word and more " * 750_000)
    report = sync(store, HashEncoder(4), [docs])
    assert report.added == 4 and len(report.skipped) == 1
    assert report.skipped[0].name.endswith("longer.txt") and "characters" in report.skipped[0].reason
    document = store.document("line.txt")
    assert document.characters >= 1_049_000 and document.chunks > 500
    assert_whole(store)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "One.", "Two.", "\0\1\2"])), max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_the_index_is_what_the_folder_is(tmp_path_factory: pytest.TempPathFactory, passes: Any) -> None:
    base = tmp_path_factory.mktemp("sync")
    (base / "docs").mkdir()
    age = 0
    with Store.open(base / "home") as store:
        for changes in passes:
            for name, text in changes:
                age += 1
                path = base / "docs" / f"{name}.txt"
                if text:
                    write(path, text, age)
                else:
                    path.unlink(missing_ok=True)
            before = {document.name: store.text(document.id) for document in store.documents()}
            report = sync(store, HashEncoder(), [base / "docs"])
            skipped = {skip.name for skip in report.skipped}
            expected = {}
            for path in (base / "docs").iterdir():
                if str(path) not in skipped:
                    expected[str(path)] = path.read_text().strip()
                elif str(path) in before:
                    expected[str(path)] = before[str(path)]
            assert {d.name: store.text(d.id).strip() for d in store.documents()} == expected
            assert len(expected) == len(before) + report.added - report.removed
            assert report.added + report.updated + report.unchanged + len(skipped) == len(
                list((base / "docs").iterdir())
            )
            assert_whole(store)

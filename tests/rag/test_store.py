"""The store: what goes in comes out, swaps are whole, and damage is named."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing_support import HashEncoder, assert_whole, bytes_on_disk, version
from ownlm.errors import InvalidSetting, NotFound, StoreBusy, StoreError, StoreFull
from ownlm.rag.store import FILE, Store, schema
from ownlm.rag.types import Chunk, Extracted, Mark

FEES = "# Fees\n\nThe workshop costs 12 pounds a month.\n\nBring your own gloves.  \n\n"
MINUTES = "The committee met in May. The roof was discussed."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home") as store:
        yield store


def test_what_goes_in_comes_out(store: Store) -> None:
    extracted = Extracted(FEES, "Fees", "text/markdown", (Mark("heading", 0, 6, 1, "Fees"),), ("read in part",))
    id = store.put(version("/docs/fees.md", FEES, extracted=extracted, notes=("of the index",)))
    assert store.extracted(id) == extracted
    assert store.text(id) == FEES and store.marks(id) == extracted.marks
    (document,) = store.documents()
    assert (document.id, document.name, document.characters, document.chunks) == (id, "/docs/fees.md", len(FEES), 1)
    assert document.notes == ("read in part", "of the index")
    ((chunk, _),) = store.search_words(["workshop"], 5)
    (passage,) = store.passages([chunk])
    assert passage.text == FEES[passage.start : passage.end] and passage.heading == ("Fees",)
    assert_whole(store)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=4))
def test_any_text_is_kept_exactly(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    with Store.open(tmp_path_factory.mktemp("home")) as store:
        for text in texts:
            assert store.text(store.put(version("/one", text))) == text
        for number, text in enumerate(texts):
            store.put(version(f"/{number}", text))
        assert_whole(store)
        store.remove([document.id for document in store.documents()])
        assert store.counts() == {"documents": 0, "chunks": 0, "characters": 0}
        assert_whole(store)


def test_a_new_version_takes_the_id_and_leaves_nothing_of_the_old(store: Store) -> None:
    id = store.put(version("/a", FEES))
    other = store.put(version("/b", MINUTES))
    before = store.generation
    assert store.put(version("/a", "Now it is free.")) == id
    assert store.generation == before + 1
    assert store.search_words(["gloves"], 5) == []
    assert [p.document_id for p in store.passages([c for c, _ in store.search_words(["free", "roof"], 5)])] == [
        id,
        other,
    ]
    assert_whole(store)


def test_the_same_version_again_changes_nothing(store: Store) -> None:
    id = store.put(version("/a", FEES))
    before = store.generation
    assert store.put(version("/a", FEES)) == id
    assert store.generation == before


def test_a_version_that_is_not_whole_stays_out(store: Store) -> None:
    whole = version("/a", FEES)
    for changes in (
        {"vectors": np.zeros((3, 16), np.float32)},
        {"chunks": [Chunk(0, len(FEES) + 1)]},
        {"chunks": [Chunk(5, 9), Chunk(0, 5)], "vectors": np.zeros((2, 16), np.float32)},
        {"foreign": [True, False, True]},
    ):
        with pytest.raises(InvalidSetting):
            store.put(version("/a", FEES, **changes))
    assert store.documents() == []
    store.put(whole)


def test_half_a_character_is_refused(store: Store) -> None:
    with pytest.raises(InvalidSetting, match="half a character"):
        store.put(version("/a", "ok", title="\ud800"))
    assert store.documents() == []


def test_long_and_empty_queries(store: Store) -> None:
    store.put(version("/a", "The roof leaks."))
    store.put(version("/zh", "会长签署租约。费用是十二镑。", foreign=[True]))
    terms = [f"word{n}" for n in range(3000)]
    assert len(store.search_words([*terms, "roof", "?", "", "\0"], 5)) == 1
    assert len(store.search_trigrams(["".join(chr(0x4E00 + n) for n in range(3000)) + "签署租约"], 5)) == 1


def test_removal_while_another_reads_is_purged_later(store: Store) -> None:
    secret = store.put(version("/secret", "The passphrase is xylophonezebra. " * 40))
    with Store.open(store.home) as another:
        with another.reading() as connection:
            connection.execute("SELECT count(*) FROM chunks").fetchall()
            assert store.remove([secret]) == 1
        store.purge()
        assert b"xylophonezebra" not in bytes_on_disk(store)


def test_keys(store: Store) -> None:
    fees = store.put(version("/docs/fees.md", FEES))
    old = store.put(version("/docs/old-fees.md", MINUTES))
    assert store.document(fees).name == "/docs/fees.md"
    assert store.document(str(old)).id == old
    assert store.document("/docs/old-fees.md").id == old
    assert store.document("fees.md").id == fees, "a whole name goes before the end of one"
    assert store.document("ld-fees.md").id == old
    for key in ("s.md", "md", "nothing", "", 99, "99", "7" * 40):
        with pytest.raises(NotFound):
            store.document(key)
    with pytest.raises(NotFound):
        store.text(99)
    assert store.under(["/docs"]) == {fees, old} and store.under(["/doc", "/docs/fees.md"]) == {fees}


def test_words_are_literal_stemmed_and_without_accents(store: Store) -> None:
    store.put(version("/a", 'The café says "NEAR" and OR, -minus* (brackets).'))
    for term in ("cafe", "CAFÉ", "says", "say", "near", "or", "minus*", "(brackets)", '"near" and', "-minus"):
        assert len(store.search_words([term], 5)) == 1, term
    assert store.search_words(["coffee"], 5) == [] == store.search_words([], 5) == store.search_words("", 5)
    assert store.search_words('caf* AND "says near"', 5)
    with pytest.raises(InvalidSetting):
        store.search_words("AND (", 5)


def test_weights_of_title_heading_and_text(store: Store) -> None:
    text = "# Roof\n\nIt leaks."
    titled = store.put(version("/t", "Something else.", title="Roof"))
    headed = store.put(
        version("/h", text, extracted=Extracted(text, "", "text/plain", (Mark("heading", 0, 6, 1, "Roof"),)))
    )

    def first(weights: tuple[float, float, float]) -> int:
        return store.passages([store.search_words(["roof"], 1, weights=weights)[0][0]])[0].document_id

    assert first((9.0, 0.1, 0.1)) == titled
    assert first((0.1, 9.0, 1.0)) == headed


def test_scope(store: Store) -> None:
    encoder = HashEncoder()
    ids = [store.put(version(f"/{n}", f"The roof of house {n} leaks. Call {n}.")) for n in range(20)]
    query = encoder.encode(["The roof of house 7 leaks. Call 7."])[0]
    for scope in (None, ids, ids[3:9], [ids[7]], [ids[0], 999]):
        allowed = set(ids if scope is None else scope)
        for found in (store.search_words(["roof"], 50, scope), store.search_vectors(query, 50, scope)):
            passages = store.passages([chunk for chunk, _ in found])
            assert {p.document_id for p in passages} == allowed & set(ids)
    assert store.search_words(["roof"], 5, []) == [] == store.search_vectors(query, 5, [])


def test_vectors_against_numpy(store: Store) -> None:
    encoder = HashEncoder(64, "hash-64")
    texts = [f"{word} number {n}" for n, word in enumerate(["roof", "fee", "saw", "desk"] * 25)]
    for n, text in enumerate(texts):
        store.put(version(f"/{n:03}", text, encoder))
    query = encoder.encode(["saw number 6"])[0]
    exact = encoder.encode(texts) @ query
    found = store.search_vectors(query, 10)
    rows = [int(passage.document[1:]) for passage in store.passages([chunk for chunk, _ in found])]
    assert len(rows) == 10 and [score for _, score in found] == sorted((s for _, s in found), reverse=True)
    assert np.abs(exact[rows] - [score for _, score in found]).max() < 0.01
    assert min(exact[rows]) >= np.sort(exact)[-10] - 0.01
    assert len(store.search_vectors(query, 1000)) == 100
    assert store.search_vectors(query, 0) == []


def test_the_matrix_follows_every_change(store: Store) -> None:
    encoder = HashEncoder()
    query = encoder.encode(["roof"])[0]

    def found() -> set[str]:
        return {p.document for p in store.passages([chunk for chunk, _ in store.search_vectors(query, 50)])}

    assert found() == set()
    first = store.put(version("/a", "The roof."))
    assert found() == {"/a"}
    store.put(version("/b", "The fee."))
    store.put(version("/a", "The roof leaks. " * 100))
    assert found() == {"/a", "/b"}
    with Store.open(store.home) as another:
        another.remove([first])
    assert found() == {"/b"}


def test_documents_without_text_have_no_vectors(store: Store) -> None:
    query = HashEncoder().encode(["roof"])[0]
    store.put(version("/empty", ""))
    store.put(version("/space", " \n\n"))
    assert store.search_vectors(query, 5) == [] == store.search_words(["roof"], 5)
    store.put(version("/roof", "The roof."))
    assert len(store.search_vectors(query, 5)) == 1
    assert [document.chunks for document in store.documents()] == [0, 1, 0]


def test_vectors_of_another_encoder_are_not_mixed_in(store: Store) -> None:
    store.put(version("/a", "The roof.", HashEncoder(16, "one")))
    store.put(version("/b", "The roof.", HashEncoder(16, "two")))
    store.put(version("/c", "The roof.", HashEncoder(8, "three")))
    query = HashEncoder(16).encode(["roof"])[0]
    assert len(store.search_vectors(query, 9, fingerprint="two")) == 1
    assert len(store.search_vectors(query, 9)) == 2
    assert len(store.search_vectors(query[:8], 9)) == 1


def test_trigrams(store: Store) -> None:
    russian = store.put(version("/ru", "Председатель подписывает договор аренды.", foreign=[True]))
    chinese = store.put(version("/zh", "会长签署租约。费用是十二镑。", foreign=[True]))
    store.put(version("/en", "The chair signs the lease договор."))

    def found(*terms: str) -> list[int]:
        return [p.document_id for p in store.passages([chunk for chunk, _ in store.search_trigrams(terms, 5)])]

    assert found("договора") == [russian], "an ending does not matter"
    assert found("签署租约") == [chinese]
    assert found("费用") == [chinese], "two characters are a word in Chinese"
    assert found("zz", "费用", "会长") == [chinese]
    assert found("signs") == [], "what the encoder knows is not there"
    assert found() == [] == found("") == found("xx")
    assert store.search_trigrams(["договор"], 5, [chinese]) == []
    store.remove([russian, chinese])
    assert found("договора") == [] == found("费用")
    assert_whole(store)


def test_passages_keep_order_and_leave_out_what_is_gone(store: Store) -> None:
    for n in range(3):
        store.put(version(f"/{n}", f"Document {n} here."))
    ids = [chunk for chunk, _ in store.search_words(["document"], 9)]
    wanted = [ids[2], 10**6, ids[0], ids[2]]
    assert len(store.passages(wanted)) == 3
    assert store.passages(wanted)[0] == store.passages([ids[2]])[0]
    long = store.put(version("/long", "\n\n".join("Paragraph of some words here. " * 20 for _ in range(9))))
    chunks = [chunk for chunk, _ in store.search_words(["paragraph"], 99, [long])]
    middle = sorted(chunks)[2]
    around = store.neighbours(middle)
    assert len(around) == 3 and store.passages([middle])[0] == around[1]


def test_removal_leaves_no_byte(store: Store) -> None:
    secret = store.put(
        version("/secret", "The passphrase is xylophonezebra, told to quixotry. " * 40, title="Vanishwort")
    )
    store.put(version("/kept", FEES * 50))
    store.put(version("/secret", "Replaced by another text entirely. " * 40))
    store.put(version("/secret", "The passphrase is xylophonezebra, told to quixotry. " * 40, title="Vanishwort"))
    assert b"xylophonezebra" in bytes_on_disk(store)
    store.remove([secret])
    left = bytes_on_disk(store).lower()
    assert all(
        word not in left for word in (b"xylophonezebra", b"ylophonezebra", b"quixotri", b"vanishwort", b"/secret")
    )
    assert_whole(store)


def test_readers_see_the_old_version_until_the_swap_is_in(store: Store) -> None:
    id = store.put(version("/a", "The old text."))
    seen: list[str] = []

    def read() -> None:
        seen.append(store.text(id))

    def in_thread() -> None:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()

    with store.transaction() as connection:
        from ownlm.rag.store import write as store_write

        store_write.put(connection, version("/a", "The new text."))
        in_thread()
    in_thread()
    assert seen == ["The old text.", "The new text."]


def test_a_failed_write_leaves_all_as_it_was(store: Store) -> None:
    store.put(version("/a", "The old text."))
    with pytest.raises(KeyboardInterrupt), store.transaction() as connection:
        from ownlm.rag.store import write as store_write

        store_write.put(connection, version("/a", "The new text."))
        raise KeyboardInterrupt
    assert store.text(1) == "The old text."
    assert_whole(store)


def test_busy(store: Store) -> None:
    with Store.open(store.home, wait=0.05) as hasty, store.transaction(), pytest.raises(StoreBusy):
        hasty.put(version("/a", FEES))


def test_a_full_database_changes_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, max_pages=120) as store:
        kept = 0
        with pytest.raises(StoreFull, match="no room"):
            for n in range(500):
                store.put(version(f"/{n}", f"Text {n}. {FEES}" * 20))
                kept += 1
        assert kept > 0 and store.counts()["documents"] == kept
        assert_whole(store)
        with pytest.raises(StoreFull, match="were removed, but"):
            store.remove([1])
        assert store.put(version("/small", "Room again."))
        assert store.counts()["documents"] == kept
        assert_whole(store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 KiB."""
    import subprocess

    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk here: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_changes_nothing(small_disk: Path) -> None:
    with Store.open(small_disk) as store:
        with pytest.raises(StoreFull, match="no room"):
            for n in range(500):
                store.put(version(f"/{n}", f"Text {n}. {FEES}" * 20))
        kept = store.documents()
        assert kept
        for document in kept:
            assert store.text(document.id).startswith(f"Text {document.name[1:]}.")
        assert store.search_words(["gloves"], 5)
    (small_disk / "ballast").write_bytes(b"")  # a full disk can be opened and read
    with Store.open(small_disk) as store:
        assert store.documents() == kept


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"This is no database. " * 400)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(tmp_path)


def test_a_flipped_page_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for n in range(60):
            store.put(version(f"/{n}", f"Text {n}. {FEES}"))
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = os.urandom(64)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"index again|move the file away"), Store.open(tmp_path) as store:
        for document in store.documents():
            store.text(document.id)
        assert_whole(store)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="update OwnLM"):
        Store.open(tmp_path)


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidSetting):
        Store.open(tmp_path / "file")


def test_many_open_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            with Store.open(tmp_path) as store:
                for m in range(5):
                    store.put(version(f"/{n}/{m}", f"Document {n} {m}."))
                    assert store.search_words(["document"], 99)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Store.open(tmp_path) as store:
        assert store.counts()["documents"] == 40
        assert_whole(store)


def test_threads_that_ended_leave_no_connection(store: Store) -> None:
    for _ in range(30):
        thread = threading.Thread(target=store.documents)
        thread.start()
        thread.join()
    assert len(store._database._connections) <= 3


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.documents()

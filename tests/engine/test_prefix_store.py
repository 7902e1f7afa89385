"""What is put into the store comes out of it again, in any process, or does not come out at all."""

from __future__ import annotations

import random
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kv_support import BYTES, SIZE, chain, contents, every_byte, held, keep
from ownlm.engine import kv_folder, kv_segment, prefix_store
from ownlm.engine.kv_folder import Folder
from ownlm.engine.prefix_store import PrefixStore, default_limit

TEXT = list(range(1, 33))


def opened(root: Path, limit: int = 1 << 30, key: str = "model") -> PrefixStore:
    return PrefixStore(root / "kv", key, BYTES, limit)


def test_another_process_finds_what_was_put(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    assert keep(one, TEXT)
    assert held(one, TEXT) == held(other, TEXT) == held(opened(tmp_path), TEXT) == len(TEXT) // SIZE
    assert held(other, [*TEXT[:10], 99, *TEXT[11:]]) == 2  # the third block differs
    assert held(opened(tmp_path, key="another model"), TEXT) == 0
    assert [np.frombuffer(tokens, np.int32).tolist() for tokens in other.children(b"")] == [TEXT[:SIZE]]


def test_what_is_mapped_outlives_its_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keep(store, TEXT)
    blocks = chain(TEXT)
    (run,) = store.read([block.digest for block in blocks])
    for path in tmp_path.rglob("*.kv"):
        path.unlink()
    assert (run == contents(blocks)).all()
    assert held(store, TEXT) == 0 and store.blocks == 0


@pytest.mark.parametrize("part", ["head", "table", "owners", "data", "end"])
def test_an_altered_byte_is_never_handed_out(tmp_path: Path, part: str) -> None:
    keep(opened(tmp_path), TEXT, "an owner")
    (path,) = tmp_path.rglob("*.kv")
    data = bytearray(path.read_bytes())
    start = kv_segment.Segment(path).start
    third = start + 2 * BYTES + 17
    at = {"head": 3, "table": 100, "owners": data.index(b"an owner"), "data": third, "end": len(data) - 1}[part]
    data[at] ^= 4
    path.write_bytes(data)
    store = opened(tmp_path)
    assert held(store, TEXT) == {"data": 2, "end": len(TEXT) // SIZE - 1}.get(part, 0)
    assert not path.exists() and held(store, TEXT) == 0
    assert keep(store, TEXT) and held(store, TEXT) == len(TEXT) // SIZE


def test_every_single_change_shows_in_the_checksum() -> None:
    chance = random.Random(3)
    for size in (1, 300, 2048, 5000, 40_960):
        data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        good = kv_segment.checksum(data)
        for _ in range(50):
            bad = data.copy()
            first = chance.randrange(size)
            last = min(size, first + chance.choice([1, 1, 8, 4096]))
            bad[first:last] = chance.randrange(256)
            assert (kv_segment.checksum(bad) == good) == (bad == data).all()
    rows = np.random.default_rng(1).integers(0, 256, 8192, np.uint8)
    assert kv_segment.checksum(np.roll(rows, 2048)) != kv_segment.checksum(rows)
    assert kv_segment.checksum(np.roll(rows, 8)) != kv_segment.checksum(rows)


def test_a_cut_file_is_a_miss(tmp_path: Path) -> None:
    keep(opened(tmp_path), TEXT)
    (path,) = tmp_path.rglob("*.kv")
    whole = path.read_bytes()
    for length in (0, 7, 40, 500, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert held(opened(tmp_path), TEXT) == 0
    store = opened(tmp_path)
    keep(store, TEXT)
    for path in tmp_path.rglob("*.kv"):  # behind the back of one who has it in the index
        path.write_bytes(path.read_bytes()[:-1])
    assert held(store, TEXT) == 0


def test_the_longest_unused_goes_first_and_a_prompt_from_its_end(tmp_path: Path) -> None:
    one, other, third = ([first, *TEXT] for first in (100, 200, 300))
    size = kv_segment.size(8, SIZE, BYTES)
    store = opened(tmp_path, 2 * size)
    now = time.time_ns() - 10**12
    assert keep(store, one, now=now) and keep(store, other, now=now + 10**6)
    store.touch([block.digest for block in chain(one)], now + 10**9)
    assert keep(store, third)
    assert (held(store, one), held(store, other), held(store, third)) == (8, 0, 8)
    assert store.folder.bytes() <= 2 * size
    long = [400, *range(1, 80)]
    store = opened(tmp_path / "b", 3 * size)
    keep(store, long[:32], now=now)
    blocks = chain(long)
    store.put(blocks[8:16], contents(blocks[8:16]), (), now - 8000)
    assert held(store, long) == 16
    store.touch([block.digest for block in blocks], now + 10**9)
    keep(store, one)
    keep(store, other)
    assert (held(store, long), held(store, one), held(store, other)) == (8, 8, 8)


def test_what_is_too_large_is_not_kept_and_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path, 1000)
    assert not keep(store, TEXT) and held(store, TEXT) == 0
    assert store.trouble is not None and "no room" in store.trouble and str(store.folder.root) in store.trouble
    assert not [*tmp_path.rglob("*.part")]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    keep(store, TEXT)

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kv_segment, "write", full)
    other = [7, *TEXT]
    assert not keep(store, other)
    assert store.trouble is not None and "no space left" in store.trouble
    assert held(store, other) == 0 and held(store, TEXT) == 8 and not [*tmp_path.rglob("*.part")]


def test_the_usual_limit_is_a_share_of_the_disk(tmp_path: Path) -> None:
    assert 0 < default_limit(tmp_path / "not" / "there") <= 4 << 30


def test_a_small_model_has_no_more_blocks_than_memory_bears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_store, "MOST_BLOCKS", 20)
    store = opened(tmp_path)
    other = opened(tmp_path, key="other")
    keep(other, TEXT)
    for first in range(100, 110):
        keep(store, [first, *TEXT])
    store.refresh()
    assert 8 <= store.blocks <= 20 and held(other, TEXT) == 8


def test_purging_leaves_no_byte_of_the_owner(tmp_path: Path) -> None:
    store, elsewhere = opened(tmp_path), opened(tmp_path, key="another model")
    secret = list(b"the secret words")
    for each in (store, elsewhere):
        keep(each, [9, *TEXT], "book")
        keep(each, secret, "letter", "book")
    needle = contents(chain(secret))[0].tobytes()
    assert needle in every_byte(tmp_path)
    assert store.purge("letter") == 2
    assert needle not in every_byte(tmp_path) and b"letter" not in every_byte(tmp_path)
    assert chain(secret)[0].tokens not in every_byte(tmp_path)
    assert (held(store, secret), held(elsewhere, secret)) == (0, 0)
    assert (held(store, [9, *TEXT]), held(elsewhere, [9, *TEXT])) == (8, 8)
    assert not keep(store, secret, "letter") and not keep(elsewhere, secret, "letter"), "a purged tag came back"
    assert keep(store, secret, "letter of another day")


def test_a_purge_that_broke_off_is_completed_by_the_next_one_who_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    keep(store, TEXT, "letter")
    monkeypatch.setattr(Folder, "_sweep", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.purge("letter")
    monkeypatch.undo()
    assert held(store, TEXT) == 0  # it knows already
    assert contents(chain(TEXT))[0].tobytes() in every_byte(tmp_path)
    kv_folder.purge(tmp_path / "kv", ["something else"])
    assert contents(chain(TEXT))[0].tobytes() not in every_byte(tmp_path)


def test_a_purge_reaches_what_is_just_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    write = kv_segment.write

    def purged_meanwhile(*arguments: object) -> int:
        assert kv_folder.purge(tmp_path / "kv", ["letter"]) == 0
        assert not [*tmp_path.rglob("*.part")]
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kv_segment, "write", purged_meanwhile)
    assert not keep(store, TEXT, "letter")
    assert not [*tmp_path.rglob("*.kv")] and not [*tmp_path.rglob("*.part")] and store.trouble is None


def test_what_two_processes_wrote_is_there_as_long_as_one_of_them(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert keep(store, TEXT, "letter") and keep(store, TEXT, "book")
    store.purge("letter")
    assert held(store, TEXT) == 8
    store.purge("book")
    assert held(store, TEXT) == 0


@pytest.mark.parametrize("owners", [b"[]", b"{}", b'{"tags": 3, "tail": ""}', b'{"tags": [], "tail": "x"}', b"\xff"])
def test_a_segment_that_states_no_owners_is_damaged(tmp_path: Path, owners: bytes) -> None:
    """As another writer, whose checksum is right, might leave it."""
    path = tmp_path / "kv" / "model" / "foreign.kv"
    store = opened(tmp_path)
    facts = (kv_segment.MAGIC, 0, SIZE, BYTES, len(owners))
    crc = zlib.crc32(owners, zlib.crc32(kv_segment._HEAD.pack(*facts, 0)))
    path.write_bytes((kv_segment._HEAD.pack(*facts, crc) + owners).ljust(4096, b"\0"))
    assert held(opened(tmp_path), TEXT) == held(store, TEXT) == 0 and not path.exists()


def test_nothing_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    assert kv_folder.purge(tmp_path / "kv", ["letter"]) == 0 and not (tmp_path / "kv").exists()


LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("purge"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("open"), st.just(0), st.just(0)),
        st.tuples(st.just("damage"), st.integers(0, 9), st.integers(0, 10**6)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_random_lives_agree_with_a_dictionary(tmp_path_factory: pytest.TempPathFactory, life: list[tuple]) -> None:
    """A block may be missing (it was evicted or damaged), but never wrong, and never back from the dead."""
    root = tmp_path_factory.mktemp("life")
    stores = [opened(root, 12_000_000), opened(root, 12_000_000)]
    alive: dict[int, set[str]] = {}
    dead: set[str] = set()
    for step, (what, one, other) in enumerate(life):
        store, tag = stores[step % 2], f"tag {other}"
        if what == "keep":
            kept = keep(store, [one, *TEXT], tag)
            assert kept == (tag not in dead)
            if kept:
                alive.setdefault(one, set()).add(tag)
        elif what == "purge":
            store.purge(f"tag {one}")
            dead.add(f"tag {one}")
            for tags in alive.values():
                tags.discard(f"tag {one}")
        elif what == "open":
            stores[step % 2] = opened(root, 12_000_000)
        else:
            paths = sorted(root.rglob("*.kv"))
            if paths:
                path = paths[one % len(paths)]
                data = bytearray(path.read_bytes())
                data[other % len(data)] ^= 1
                path.write_bytes(data)
                alive.clear()  # any may be gone now
        for store in stores:
            for text in range(6):
                count = held(store, [text, *TEXT])
                assert not alive.get(text) or count == 8 or any(step[0] == "damage" for step in life)
        for tag in dead:
            assert tag.encode() not in every_byte(root)

"""``kill -9`` at random moments of indexing: nothing is lost, nothing is half visible, and the next pass completes.

Eight kills by default; ``OWNLM_KILLS=50`` asks for as many as that.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexing_support import HashEncoder, assert_whole
from ownlm.rag.store import Store
from ownlm.rag.sync import sync

KILLS = int(os.environ.get("OWNLM_KILLS", "8"))
TESTS = Path(__file__).parents[1]
CHILD = """
import sys, time
from pathlib import Path
from indexing_support import HashEncoder
from ownlm.rag import sync as module
from ownlm.rag.store import Store
from ownlm.rag.store.database import Database

opened = Database._open

def slow(self):
    connection = opened(self)
    connection.set_trace_callback(lambda statement: time.sleep(0.002))
    return connection

Database._open = slow  # most of the time passes between two statements of a transaction: there the kill strikes
module.BATCH = 8
print("ready", flush=True)
with Store.open(sys.argv[1]) as store:
    module.sync(store, HashEncoder(), [Path(sys.argv[2])])
"""
WORDS = ["roof", "fee", "saw", "desk", "lease", "member", "workshop", "minutes", "garden", "key", "window", "paint"]


def start(home: Path, docs: Path) -> subprocess.Popen[str]:
    """An indexer in another process, as soon as it has begun."""
    path = os.pathsep.join([str(TESTS), *(entry for entry in sys.path if entry)])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), str(docs)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def write(path: Path, chance: random.Random, tick: int) -> None:
    text = " ".join(chance.choices(WORDS, k=chance.randint(5, 1500))) + f" end {tick}."
    path.write_text(text)
    os.utime(path, (1_600_000_000 + tick, 1_600_000_000 + tick))


def change(docs: Path, chance: random.Random, tick: int) -> None:
    """Add three files, change five, delete two."""
    files = sorted(docs.iterdir())
    for path in chance.sample(files, min(2, len(files))):
        path.unlink()
    for path in chance.sample(sorted(docs.iterdir()), min(5, len(files) - 2)) if len(files) > 8 else []:
        write(path, chance, tick)
    for n in range(3):
        write(docs / f"{tick}-{n}.txt", chance, tick)


@pytest.mark.timeout(60 + 5 * KILLS)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(7)
    home, docs = tmp_path / "home", tmp_path / "docs"
    docs.mkdir()
    for n in range(30):
        write(docs / f"{n}.txt", chance, n)
    begin = time.monotonic()
    child = start(tmp_path / "trial", docs)
    assert child.wait() == 0
    assert child.stdout is not None
    child.stdout.close()
    span = time.monotonic() - begin
    versions: dict[str, set[str]] = {}
    moments, before = [], set[str]()
    for tick in range(100, 100 + KILLS):
        for path in docs.iterdir():
            versions.setdefault(str(path), set()).add(path.read_text())
        child = start(home, docs)
        time.sleep(chance.uniform(0, span if tick % 4 == 0 else span / 4))
        moments.append(child.poll() is None)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
        with Store.open(home) as store:
            assert_whole(store)
            held = {document.name: store.text(document.id) for document in store.documents()}
        assert all(text in versions[name] for name, text in held.items()), "a text that no file ever had"
        assert {name for name in before if Path(name).exists()} <= set(held), "a document was lost"
        before = set(held)
        change(docs, chance, tick)
    assert any(moments), "every pass had ended before it was killed"
    with Store.open(home) as store:
        report = sync(store, HashEncoder(), [docs])
        assert report.skipped == ()
        expected = {str(path): path.read_text() for path in docs.iterdir()}
        assert {document.name: store.text(document.id) for document in store.documents()} == expected
        assert len(report.documents) == len(expected)
        assert_whole(store)


def test_two_processes_index_the_same_folder(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(30):
        write(docs / f"{n}.txt", random.Random(n), n)
    children = [start(tmp_path / "home", docs) for _ in range(2)]
    with Store.open(tmp_path / "home") as reader:
        counts = []
        while any(child.poll() is None for child in children):
            counts.append(reader.counts()["documents"])
            for chunk, _ in reader.search_words(["roof"], 50):
                assert len(reader.passages([chunk])) <= 1
            time.sleep(0.02)
    for child in children:
        assert child.returncode == 0
        assert child.stdout is not None
        child.stdout.close()
    assert counts == sorted(counts)
    with Store.open(tmp_path / "home") as store:
        assert len(store.documents()) == 30
        assert_whole(store)

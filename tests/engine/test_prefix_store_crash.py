"""``kill -9`` at random moments, and several processes at once: no wrong block, no dead owner, nothing left over.

Ten kills by default; ``OWNLM_KILLS=100`` asks for as many as that.
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

from kv_support import BYTES, chain, every_byte, held
from ownlm.engine.kv_folder import Folder
from ownlm.engine.prefix_store import PrefixStore

KILLS = int(os.environ.get("OWNLM_KILLS", "10"))
LIMIT = 3_000_000
TEXTS = 40
CHILD = """
import random, sys, time
from pathlib import Path
import kv_support
from ownlm.engine import kv_segment
from ownlm.engine.prefix_store import PrefixStore

write = kv_segment.write
class Slow:  # most of the time passes within a segment: there the kill strikes
    def __init__(self, file): self.file = file
    def write(self, data):
        for at in range(0, len(data), 20_000):
            self.file.write(bytes(data[at : at + 20_000]))
            time.sleep(0.0005)
kv_segment.write = lambda file, *rest: write(Slow(file), *rest)
chance = random.Random(int(sys.argv[2]))
store = PrefixStore(Path(sys.argv[1]), "model", kv_support.BYTES, int(sys.argv[4]))
print("ready", flush=True)
for round in range(int(sys.argv[3])):
    text = [chance.randrange(int(sys.argv[5])), *range(64)]
    tag = f"tag {chance.randrange(1000)} of it"
    what = chance.random()
    if what < 0.6:
        kv_support.keep(store, text, tag)
    elif what < 0.9:
        kv_support.held(store, text)
    else:
        store.purge(tag)
        print(tag, flush=True)
"""


def start(root: Path, seed: int, rounds: int = 100_000) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *(entry for entry in sys.path if entry)])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(seed), str(rounds), str(LIMIT), str(TEXTS)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def purged_by(child: subprocess.Popen[str]) -> set[str]:
    assert child.stdout is not None
    with child.stdout as lines:
        return {line.strip() for line in lines if line.endswith("it\n")}


def check(root: Path, dead: set[str]) -> None:
    """Every block that is there is what it was; nothing unfinished is left; the owners that are gone are gone."""
    store = PrefixStore(root, "model", BYTES, LIMIT)
    counts = [held(store, [text, *range(64)]) for text in range(TEXTS)]
    assert any(counts)
    assert not [*root.rglob("*.part")] and not (root / "purging").exists()
    assert store.folder.bytes() <= LIMIT
    there = every_byte(root / "model")
    assert not [tag for tag in dead if f'"{tag}"'.encode() in there]


@pytest.mark.timeout(60 + 3 * KILLS)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    chance, dead = random.Random(5), set[str]()
    for kill in range(KILLS):
        child = start(tmp_path, kill)
        time.sleep(chance.uniform(0.02, 0.6))
        child.send_signal(signal.SIGKILL)
        child.wait()
        dead |= purged_by(child)
    check(tmp_path, dead)
    assert dead


def test_several_processes_at_once(tmp_path: Path) -> None:
    children = [start(tmp_path, seed, 150) for seed in range(3)]
    children[0].send_signal(signal.SIGKILL)
    dead = set[str]().union(*map(purged_by, children))
    assert [child.wait() for child in children] == [-signal.SIGKILL, 0, 0], "one met a wrong block, or failed"
    check(tmp_path, dead)
    assert dead


def test_nobody_waits_for_one_who_was_killed_with_the_lock(tmp_path: Path) -> None:
    code = "import sys\nfrom pathlib import Path\nfrom ownlm.engine.kv_folder import Folder\n"
    code += "with Folder(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n    sys.stdin.read()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        child.kill()
    with Folder(tmp_path).locked():
        assert chain([1, 2, 3, 4])

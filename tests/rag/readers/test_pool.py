"""The worker process: what it may use, and what happens when a parser crashes, hangs, lies or is taken over.

In these tests the "parser" runs the document as a program: the worst that a hostile file can make of one.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from ownlm.errors import DocumentTooLarge, InvalidSetting, UnreadableDocument
from ownlm.rag.readers import Limits, ReaderPool, snapshot
from ownlm.rag.readers import pool as pool_module
from ownlm.rag.readers.file import Snapshot
from ownlm.rag.readers.protocol import BrokenWorker, frame, outcome

needs_rlimit = pytest.mark.skipif(sys.platform != "linux", reason="memory and CPU limits are enforced on Linux")

TAKEN_OVER = """
from ownlm.rag.readers import read as reading, worker, protocol
from ownlm.rag.types import Extracted
def run(data, name, limits):
    scope = {"Extracted": Extracted, "protocol": protocol}
    exec(data, scope)
    return Extracted(scope.get("text", "fine"), "t", "text/plain")
reading.read = run
worker.main()
"""


def shot(code: str, name: str = "/docs/a.txt") -> Snapshot:
    data = code.encode()
    return Snapshot(name, data, "0" * 64, len(data), 0, True)


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch):
    def command(limits: Limits) -> list[str]:
        return [sys.executable, "-S", "-P", "-c", TAKEN_OVER, str(limits.memory_bytes)]

    monkeypatch.setattr(pool_module, "worker_command", command)

    def start(**limits: float) -> ReaderPool:
        return ReaderPool(limits=dataclasses.replace(Limits(), **limits))

    return start


SPOIL = """
import os
for descriptor in range(3, 12):
    try:
        os.write(descriptor, b"\\xff" * 100)
    except OSError:
        pass
"""


def goes_on(pool: ReaderPool) -> bool:
    return pool.parse(shot("text = 'next file'")).text == "next file"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import ctypes; ctypes.string_at(0)", "crashed"),
        ("import os; os._exit(3)", r"crashed \(exit status 3\)"),
        ("import os; os.kill(os.getpid(), 9)", r"crashed"),
        ("import no_such_module", "cannot be loaded.*no_such_module"),
        ("raise RuntimeError('x' * 10000)", "damaged.*RuntimeError"),
        ("def f(): f()\nf()", "damaged.*RecursionError"),
        ("text = 'a\\x1b[31mb'", "control characters"),
        ("text = 'a' * 6_000_000", "more text"),
        (SPOIL, "message of"),
    ],
)
def test_a_worker_that_fails_costs_one_file(taken_over, code, words):
    with taken_over() as pool:
        assert goes_on(pool)
        with pytest.raises(UnreadableDocument, match=words):
            pool.parse(shot(code))
        assert goes_on(pool)


def test_a_worker_that_hangs_is_ended(taken_over):
    with taken_over(seconds=0.5) as pool:
        started = time.monotonic()
        with pytest.raises(DocumentTooLarge, match=r"longer to read than 0\.5 s"):
            pool.parse(shot("import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)"))
        assert time.monotonic() - started < 5


@needs_rlimit
def test_processor_time_is_limited(taken_over):
    with taken_over(cpu_seconds=1) as pool:
        with pytest.raises(DocumentTooLarge, match="processor time"):
            pool.parse(shot("while True: pass"))
        assert goes_on(pool)


@needs_rlimit
def test_memory_is_limited(taken_over):
    with taken_over(memory_bytes=300 << 20) as pool:
        with pytest.raises(DocumentTooLarge, match="more memory"):
            pool.parse(shot("data = [bytes(1 << 20) for _ in range(1000)]"))
        assert goes_on(pool)


def test_what_a_parser_prints_and_sees(taken_over, monkeypatch, tmp_path):
    monkeypatch.setenv("OWNLM_API_KEY", "secret")
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    with taken_over() as pool:
        assert goes_on(pool)
        noisy = "import os; print('noise'); os.system('echo noise'); text = str(os.environ.get('OWNLM_API_KEY'))"
        assert pool.parse(shot(noisy)).text == "None"


@needs_rlimit
def test_a_parser_writes_no_files(taken_over, tmp_path):
    target = tmp_path / "dropped"
    with taken_over() as pool, pytest.raises(UnreadableDocument, match="OSError"):
        pool.parse(shot(f"open({str(target)!r}, 'w').write('x' * 10000)"))
    assert not target.exists() or target.stat().st_size == 0


def test_a_worker_killed_at_rest_is_replaced(taken_over):
    with taken_over() as pool:
        assert goes_on(pool)
        process = pool._idle.workers[0]._process
        process.kill()
        process.wait()
        assert goes_on(pool)


def test_a_worker_killed_at_work_costs_one_file(taken_over):
    with taken_over() as pool:
        process = pool._idle.workers[0]._process
        threading.Timer(0.3, process.kill).start()
        with pytest.raises(UnreadableDocument, match="crashed"):
            pool.parse(shot("import time; time.sleep(30)"))
        assert goes_on(pool)


def test_workers_are_reused_bounded_and_ended(taken_over):
    pool = ReaderPool(workers=2)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(pool.parse(shot("import os; text = str(os.getpid())")).text))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    assert len(set(results)) <= 2
    processes = [worker._process for worker in pool._idle.workers]
    pool.close()
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(InvalidSetting):
        ReaderPool(workers=0)
    with pytest.raises(InvalidSetting):
        Limits(seconds=-1)


@pytest.mark.parametrize(
    "message",
    [
        {"error": "SystemExit", "reason": "x"},
        {"error": ["UnreadableDocument"], "reason": "x"},
        {"text": 1},
        {"text": "abc", "title": "t", "media_type": "text/plain", "marks": [["page", 0, 9, 0, ""]], "notes": []},
        {"text": "abc", "title": "t", "media_type": "text/plain", "marks": [["script", 0, 1, 0, ""]], "notes": []},
        {"text": "abc", "title": "t", "media_type": "text/plain", "marks": [["page", 0, "1", 0, ""]], "notes": []},
        {"text": "abc", "title": "t", "media_type": "text/plain", "marks": {}, "notes": []},
        {"text": "abc", "title": "t", "media_type": "../../x", "marks": [], "notes": []},
        {"text": "a\x00", "title": "t", "media_type": "text/plain", "marks": [], "notes": []},
    ],
)
def test_what_a_worker_says_is_checked(message):
    with pytest.raises(BrokenWorker):
        outcome(message, Limits())


def test_titles_and_notes_are_cleaned():
    message = {"text": "abc", "title": "a\x1b[2Jb\nc", "media_type": "text/plain", "marks": [], "notes": ["x\ny\x07"]}
    extracted = outcome(message, Limits())
    assert (extracted.title, extracted.notes) == ("a[2Jb c", ("x y",))


def test_a_length_is_bounded_before_memory_is_given():
    assert frame({})[:4] == (2).to_bytes(4, "big")


def test_extract_says_which_bytes_were_read(tmp_path: Path):
    import hashlib

    path = tmp_path / "a.md"
    path.write_bytes(b"# Keys\n")
    os.utime(path, ns=(10**18, 10**18))
    with ReaderPool() as pool:
        read = pool.extract(path)
    assert read.extracted.title == "Keys"
    assert read.sha256 == hashlib.sha256(b"# Keys\n").hexdigest()
    assert (read.size, read.mtime_ns, read.settled) == (7, 10**18, True)
    path.write_bytes(b"# Doors\n")
    assert not snapshot(path).settled


def test_every_kind_of_document_through_the_worker(sample, make, tmp_path):
    path = tmp_path / sample
    path.write_bytes(make(sample))
    with ReaderPool() as pool:
        assert pool.extract(path).extracted.text

"""What one engine computed, the next one finds: the same answers, and only the question is computed."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from engine_fakes import VOCABULARY, FakeRunner, naive
from engine_harness import Gate, eventually, greedy, ids, prompts, running
from kv_support import every_byte
from ownlm.engine.block_table import Owner
from ownlm.engine.prefix_store import PrefixStore

DOCUMENT = random.Random(1).choices(range(VOCABULARY), k=200)
QUESTION = [3, 1, 4, 1, 5]


def store(root: Path, limit: int = 1 << 28) -> PrefixStore:
    return PrefixStore(root / "kv", "fake", 8 * 4, limit)


def answered(root: Path, prompt: list[int], *owners: Owner, **options: int) -> tuple[int, int, int | None]:
    """A process of its own: it answers rightly, and says what it had not to compute."""
    runner = FakeRunner(**options)
    with running(runner, store=store(root)) as engine:
        handle = engine.submit(prompt, greedy(6), owners=owners)
        assert ids(handle) == naive(prompt, 6)
        assert handle.reuse.cached == handle.cached_tokens
        assert engine.stats().counters.computed_tokens == len(prompt) - handle.cached_tokens + 5
    return handle.reuse


def test_the_second_question_computes_only_itself_even_after_a_restart(tmp_path: Path) -> None:
    assert answered(tmp_path, [*DOCUMENT, *QUESTION]) == (0, 0, 0)
    assert answered(tmp_path, [*DOCUMENT, *QUESTION]) == (204, 204, None)
    other = [*DOCUMENT, 3, 1, 9, 2, 6]
    assert answered(tmp_path, other) == (200, 200, 202)
    assert answered(tmp_path, [*DOCUMENT[:70], 50, *DOCUMENT[71:]]) == (68, 68, 70 if DOCUMENT[70] != 50 else None)
    assert answered(tmp_path, [DOCUMENT[0] ^ 1, *DOCUMENT[1:]]) == (0, 0, 0)


def test_where_it_came_from_is_said(tmp_path: Path) -> None:
    answered(tmp_path, DOCUMENT[:120])
    with running(FakeRunner(), store=store(tmp_path)) as engine:
        first = engine.submit(DOCUMENT, greedy(2))
        assert ids(first) == naive(DOCUMENT, 2) and first.reuse == (120, 120, 120)  # the entry ends there
        again = engine.submit([*DOCUMENT[:160], 7, 7], greedy(2))
        assert ids(again) == naive([*DOCUMENT[:160], 7, 7], 2)
        assert again.reuse.cached == 160 and again.reuse.from_disk == 0
        assert engine.stats().counters.restored_tokens == 120
        assert eventually(lambda: engine.stats().counters.stored_tokens == 80)


def test_without_a_store_memory_says_where_prompts_part() -> None:
    with running(FakeRunner()) as engine:
        assert engine.store is None
        ids(engine.submit(DOCUMENT[:50], greedy(2)))
        other = engine.submit([*DOCUMENT[:41], VOCABULARY - 1, 5, 5], greedy(2))
        ids(other)
        assert other.reuse == (40, 0, 41 if DOCUMENT[41] != VOCABULARY - 1 else 42)


def test_a_short_prompt_is_not_worth_a_file(tmp_path: Path) -> None:
    answered(tmp_path, DOCUMENT[:40])
    assert not [*tmp_path.rglob("*.kv")]
    answered(tmp_path, DOCUMENT)
    files = {*tmp_path.rglob("*.kv")}
    answered(tmp_path, [*DOCUMENT, *QUESTION, *DOCUMENT[:20]])
    assert files == {*tmp_path.rglob("*.kv")}, "a question was kept"


def test_owners_come_back_from_disk(tmp_path: Path) -> None:
    answered(tmp_path, DOCUMENT, Owner("letter", 100), Owner("book", 40))
    secret = np.array(DOCUMENT[100:104], np.int32).tobytes()
    assert secret in every_byte(tmp_path)
    runner = FakeRunner()
    with running(runner, store=store(tmp_path)) as engine:
        handle = engine.submit([*DOCUMENT, 1, 2], greedy(2))  # whose text it is, only the disk knows
        assert ids(handle) == naive([*DOCUMENT, 1, 2], 2) and handle.reuse.from_disk == 200
        assert engine.purge("letter") >= 25
        assert secret not in every_byte(tmp_path) and b"letter" not in every_byte(tmp_path)
        again = engine.submit([*DOCUMENT, 1, 2], greedy(2))
        assert ids(again) == naive([*DOCUMENT, 1, 2], 2) and again.cached_tokens == 100


def test_what_another_process_purged_is_forgotten_in_memory_too(tmp_path: Path) -> None:
    with running(FakeRunner(), store=store(tmp_path)) as engine:
        ids(engine.submit(DOCUMENT, greedy(2), owners=[Owner("letter", 8)]))
        store(tmp_path).purge("letter")
        again = engine.submit(DOCUMENT, greedy(2))
        assert ids(again) == naive(DOCUMENT, 2) and again.cached_tokens == 8
        late = engine.submit([9, *DOCUMENT], greedy(2), owners=[Owner("letter", 8)])  # was asked before it was purged
        assert ids(late) == naive([9, *DOCUMENT], 2)
    assert answered(tmp_path, DOCUMENT).from_disk == 196  # nobody's text now
    assert answered(tmp_path, [9, *DOCUMENT]).from_disk == 0


def test_a_purge_while_a_prompt_is_computed_keeps_nothing_of_it(tmp_path: Path) -> None:
    runner = Gate()
    with running(runner, store=store(tmp_path)) as engine:
        handle = engine.submit(DOCUMENT, greedy(2), owners=[Owner("letter", 0)])
        assert eventually(lambda: engine.stats().running == 1)
        engine.purge("letter")
        runner.open.set()
        assert ids(handle) == naive(DOCUMENT, 2)
    assert not [*tmp_path.rglob("*.kv")]


@pytest.mark.parametrize("damage", ["byte", "gone"])
def test_damage_is_computed_again(tmp_path: Path, damage: str) -> None:
    answered(tmp_path, DOCUMENT)
    (path,) = tmp_path.rglob("*.kv")
    with running(FakeRunner(), store=store(tmp_path)) as engine:
        data = bytearray(path.read_bytes())
        data[-32 * 20 - 5] ^= 1
        path.write_bytes(data)
        if damage == "gone":
            path.unlink()
        handle = engine.submit([*DOCUMENT, 5], greedy(3))
        assert ids(handle) == naive([*DOCUMENT, 5], 3)
        assert handle.reuse.from_disk == (0 if damage == "gone" else 116)


def test_memory_that_is_short_is_not_taken_from_those_who_run(tmp_path: Path) -> None:
    answered(tmp_path, DOCUMENT)
    with running(FakeRunner(blocks=60), store=store(tmp_path)) as engine:
        handles = [engine.submit([at, *DOCUMENT[:100]], greedy(60)) for at in range(2)]
        late = engine.submit([*DOCUMENT, 8], greedy(6))
        for at, handle in enumerate(handles):
            assert ids(handle) == naive([at, *DOCUMENT[:100]], 60)
        assert ids(late) == naive([*DOCUMENT, 8], 6)


def test_a_disk_that_fails_costs_nothing_but_the_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = store(tmp_path, 600)  # smaller than any prompt worth keeping
    with running(FakeRunner(), store=kept) as engine:
        for at in range(3):
            assert ids(engine.submit([at, *DOCUMENT], greedy(2))) == naive([at, *DOCUMENT], 2)
        assert eventually(lambda: kept.trouble is not None)
    assert sum("no room" in record.message for record in caplog.records) == 1


def test_many_callers_over_many_restarts(tmp_path: Path) -> None:
    """Memory for a third of the prompts, a small store, purges in between: every answer is the one without a cache."""
    asked = [[*prompt, *DOCUMENT[: 10 * at]] for at, prompt in enumerate(prompts(16))]
    chance, restored = random.Random(2), 0
    for _ in range(3):
        with running(FakeRunner(blocks=120), store=store(tmp_path, 60_000), max_running=6) as engine:
            failed: list[str] = []

            def call(engine: object = engine, failed: list[str] = failed) -> None:
                for _ in range(6):
                    at = chance.randrange(len(asked))
                    handle = engine.submit(asked[at], greedy(4), owners=[Owner(f"{at}", at)])  # type: ignore[attr-defined]
                    if ids(handle) != naive(asked[at], 4):
                        failed.append(f"prompt {at}")

            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            engine.purge(str(chance.randrange(16)))
            for thread in threads:
                thread.join()
            assert not failed
            restored += engine.stats().counters.restored_tokens
    assert restored > 0

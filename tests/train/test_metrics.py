"""metrics.jsonl: what is written is what is read, through kills and resumed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import OwnLMError
from ownlm.train.metrics import MetricsFile, read_history
from ownlm.train.run_facts import RunFacts


def facts(out: Path, **more: Any) -> RunFacts:
    return RunFacts(name="made", out=out, steps=10, tokens_per_step=64, parameters=1000, flops_per_token=6e3, **more)


def written(out: Path, steps: range, first_step: int = 0) -> MetricsFile:
    made = MetricsFile()
    made.on_start(facts(out, first_step=first_step))
    for step in steps:
        made.on_step({"step": step, "loss": 1 / step + first_step})
    return made


def test_every_line_is_json_and_comes_back(tmp_path: Path) -> None:
    made = written(tmp_path, range(1, 4))
    made.on_step({"step": 4, "loss": float("nan"), "grad_norm": float("inf")})
    made.on_end({"steps": 4, "loss": 0.25})
    for line in made.path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    found = read_history(made.path)
    assert found.run["parameters"] == 1000
    assert [record["step"] for record in found.steps] == [1, 2, 3, 4]
    assert found.steps[0]["loss"] == 1.0 and found.steps[3]["loss"] is None
    assert found.end == {"steps": 4, "loss": 0.25}


def test_a_step_is_on_the_disk_at_once(tmp_path: Path) -> None:
    made = written(tmp_path, range(1, 3))
    assert len(read_history(made.path).steps) == 2  # nothing waits in a buffer for a kill


def test_a_resumed_run_drops_the_steps_that_it_does_again(tmp_path: Path) -> None:
    made = written(tmp_path, range(1, 8))
    with made.path.open("ab") as file:
        file.write(b'{"step": 8, "lo')  # killed here
    again = written(tmp_path, range(6, 9), first_step=5)
    again.on_end({"steps": 8})
    found = read_history(again.path)
    assert [record["step"] for record in found.steps] == list(range(1, 9))
    assert found.steps[4]["loss"] == pytest.approx(1 / 5)
    assert found.steps[5]["loss"] == pytest.approx(1 / 6 + 5)
    assert found.run["first_step"] == 5


def test_an_ended_run_that_goes_on_has_one_end(tmp_path: Path) -> None:
    made = written(tmp_path, range(1, 6))
    made.on_end({"steps": 5})
    again = written(tmp_path, range(6, 8), first_step=5)
    assert read_history(again.path).end is None
    assert b'"end"' not in again.path.read_bytes()


def test_a_new_run_begins_a_new_file(tmp_path: Path) -> None:
    written(tmp_path, range(1, 6))
    again = written(tmp_path, range(1, 2))
    assert len(read_history(again.path).steps) == 1


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnot json\n{"step": 2}\n')
    with pytest.raises(OwnLMError, match=r"metrics\.jsonl line 2 is not a JSON object"):
        read_history(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    made = MetricsFile()
    made.path = Path("/dev/full")
    with pytest.raises(OwnLMError, match="no space left on device; make room and resume the run"):
        made.on_step({"step": 1})

"""What is told before a run: counted memory against the profiler's, a law through earlier runs, and no trace of it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent))
import tiny_run  # noqa: E402

from ownlm.train import rehearse  # noqa: E402
from ownlm.train.forecast import earlier_runs, foretell, off_by  # noqa: E402
from ownlm.train.memory import PeakMemory, optimizer_state, saved_activations, weights_and_gradients  # noqa: E402
from ownlm.train.metrics import MetricsFile, read_history  # noqa: E402
from ownlm.train.peak import measured_peak, used  # noqa: E402
from ownlm.train.scaling import FLOOR, HEIGHT, NOISE, SLOPE, SLOPES, TEXTS, Reached, bits_per_byte  # noqa: E402
from ownlm.train.schedule import Schedule  # noqa: E402
from ownlm.train.trainer import Trainer, train  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture
def every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse, "WORTH", 1)


def test_without_earlier_runs_it_is_a_law_through_what_others_and_we_reached() -> None:
    for flops, reached in ((1e18, 0.897), (5e18, 0.829), (1e19, 0.800), (3.7e14, 1.448), (3.5e12, 2.201)):
        found = bits_per_byte(flops)
        assert found.value == pytest.approx(reached, rel=0.03)
        assert found.low is not None and found.high is not None and found.low < reached < found.high


def test_a_law_through_runs_is_the_least_squares_line() -> None:
    sizes = [1e13, 1e14, 1e15, 1e16]
    runs = [Reached(flops, 0.5 + 9 * flops**-0.06) for flops in sizes for _ in range(1000)]  # outweigh any belief
    slope, height = np.polyfit(np.log(sizes), np.log([run.bits_per_byte - 0.5 for run in runs[::1000]]), 1)
    found = bits_per_byte(1e17, runs)
    assert math.log(found.value - 0.5) == pytest.approx(height + slope * math.log(1e17), abs=5e-3)


def test_a_text_below_the_floor_has_its_own() -> None:
    found = bits_per_byte(1e16, [Reached(1e15, 0.3), Reached(2e15, 0.29)])
    assert 0.24 < found.value < 0.29


def test_its_bounds_hold_four_in_five() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        a, b = rng.normal(HEIGHT, TEXTS), rng.normal(SLOPE, SLOPES)
        sizes = np.exp(rng.uniform(math.log(1e12), math.log(1e17), 4))
        reached = FLOOR + np.exp(a + b * np.log(sizes / 1e18) + rng.normal(0, NOISE, 4))
        found = bits_per_byte(sizes[3], [Reached(size, value) for size, value in zip(sizes[:3], reached, strict=False)])
        assert found.low is not None and found.high is not None
        held += found.low <= reached[3] <= found.high
    assert 0.74 < held / 400 < 0.86


def test_saved_activations_are_counted_to_the_byte() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Sigmoid(), torch.nn.Linear(16, 4))
    x = torch.randn(5, 8)
    with saved_activations(model) as saved:
        model(x).sum()
    # The input, the sigmoid's result (which is the next one's input too); weights are no activations.
    assert saved.bytes == 4 * (5 * 8 + 5 * 16)


def test_weights_count_once_and_only_what_learns_has_gradients() -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(8, 8, bias=False), "b": torch.nn.Linear(8, 8, bias=False)})
    model["b"].weight = model["a"].weight
    assert weights_and_gradients(model) == (256, 256)
    model["c"] = torch.nn.Linear(8, 2, bias=False).requires_grad_(False)
    assert weights_and_gradients(model) == (256 + 64, 256)
    assert optimizer_state(
        {0: {"step": torch.zeros(()), "mean": torch.zeros(8, 8)}, 1: {"parts": [torch.ones(3)]}}
    ) == (4 + 256 + 12)


def test_counted_memory_is_the_profilers(data: Path, tmp_path: Path) -> None:
    recipe = tiny_run.recipe(data, batch=32, micro=32, length=64, average=None)
    trainer = Trainer(recipe, tmp_path)
    _, counted = rehearse._measured(trainer)
    trainer.one_step()
    with torch.profiler.profile(profile_memory=True) as profiled:
        trainer.one_step()
    now = most = 0
    events = profiled.profiler.kineto_results.events()
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        now += change
        most = max(most, now)
    changes = counted.total - counted.weights - counted.optimizer
    assert changes == pytest.approx(most, rel=0.25)


def test_peak_memory_sees_what_is_freed_again() -> None:
    peak = PeakMemory(torch.device("cpu"))
    if peak() is None:
        pytest.skip("this system does not say")
    before = peak()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    del block
    after = peak()
    assert before is not None and after is not None and 60 << 20 < after - before < 80 << 20


def test_a_rehearsal_leaves_no_trace(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for worth in (1, 10**9):
        monkeypatch.setattr(rehearse, "WORTH", worth)
        out = tmp_path / str(worth)
        train(tiny_run.recipe(data), out, hooks=[MetricsFile()])
        history = read_history(out / "metrics.jsonl")
        weights = (out / "model" / "model.safetensors").read_bytes()
        found.append(([(step["loss"], step["grad_norm"]) for step in history.steps], weights))
        assert (history.run["forecast"] is None) == (worth > 1)
    assert found[0] == found[1]


@pytest.mark.usefixtures("every_run")
def test_a_run_is_told_and_then_compared(data: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        train(tiny_run.recipe(data), tmp_path / name, hooks=[MetricsFile()])
    first, second = (read_history(tmp_path / name / "metrics.jsonl") for name in ("first", "second"))
    told = first.run["forecast"]
    assert set(told) == {"seconds", "memory", "bits_per_byte", "memory_parts", "basis"}
    assert told["memory"]["value"] >= told["memory_parts"]["total"] > 0
    assert "no finished run" in told["basis"] and "through 1 finished run" in second.run["forecast"]["basis"]
    assert first.end is not None and second.end is not None
    compared = second.end["forecast"]
    assert compared["bits_per_byte"]["actual"] == second.end["valid_bits_per_byte"]
    for one in compared.values():
        assert one["off"] == pytest.approx(one["actual"] / one["value"] - 1, abs=1e-4)
    assert abs(compared["bits_per_byte"]["off"]) < 0.05  # the same run again
    assert abs(first.end["forecast"]["bits_per_byte"]["off"]) > abs(compared["bits_per_byte"]["off"])
    assert all(step["mfu"] > 0 for step in second.steps)


@pytest.mark.usefixtures("every_run")
def test_a_resumed_run_is_told_by_the_speed_that_it_had(data: Path, tmp_path: Path) -> None:
    train(tiny_run.recipe(data), tmp_path, hooks=[MetricsFile()])
    log = tmp_path / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line | ({"seconds": 2.5} if "step" in line else {})) + "\n" for line in lines))
    longer = Trainer(tiny_run.recipe(data, schedule=Schedule(steps=32, warmup=2)), tmp_path)
    found = rehearse.rehearse(longer)
    assert found is not None and found.seconds is not None and found.memory is None
    left = 32 - longer.step
    assert left * 2.5 <= found.seconds.value < left * 2.5 * 2  # and some validation


@pytest.mark.usefixtures("every_run")
def test_a_run_by_the_clock_takes_no_longer(data: Path, tmp_path: Path) -> None:
    schedule = Schedule(steps=10**6, minutes=0.05)
    found = rehearse.rehearse(Trainer(tiny_run.recipe(data, schedule=schedule, measure_every=0), tmp_path))
    assert found is not None and found.seconds is not None
    assert found.seconds.value == pytest.approx(3.0, rel=0.3)


def test_only_finished_runs_on_the_same_text_count(tmp_path: Path) -> None:
    def write(name: str, measured_on: str, stopped: str | None, bits: float | None = 1.2) -> None:
        (tmp_path / name).mkdir()
        lines: list[dict[str, Any]] = [{"run": {"flops": 1e15, "measured_on": measured_on}}]
        lines.append({"end": {"valid_bits_per_byte": bits, "stopped": stopped}})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "metrics.jsonl").write_text(text if name != "broken" else text + "no\n")

    write("good", "abc", None)
    write("other", "xyz", None)
    write("stopped", "abc", "Ctrl-C")
    write("unmeasured", "abc", None, None)
    write("broken", "abc", None)
    assert earlier_runs(tmp_path / "new", "abc") == [Reached(1e15, 1.2)]
    assert earlier_runs(tmp_path / "good", "abc") == []  # not itself


def test_time_has_bounds_as_wide_as_its_steps_were_uneven() -> None:
    even = foretell(step_seconds=[1.0, 1.0], steps=100, more_seconds=10).seconds
    uneven = foretell(step_seconds=[1.0, 1.5, 2.0], steps=100).seconds
    assert even is not None and (even.value, even.low, even.high) == (110, pytest.approx(104.5), pytest.approx(115.5))
    assert uneven is not None and uneven.value == 150
    assert uneven.low == pytest.approx(100) and uneven.high == pytest.approx(200)


def test_what_was_not_told_is_not_compared() -> None:
    assert off_by({"basis": "", "memory": {"value": 4.0}}, {"seconds": 3.0, "memory": None, "bits_per_byte": 1.0}) == {}


def test_mfu_is_of_the_measured_peak() -> None:
    peak = measured_peak()
    assert peak > 1e8
    assert used(100.0, peak / 400, peak) == pytest.approx(0.25)
    assert used(100.0, 1e9, None) is None

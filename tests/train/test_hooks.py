"""TensorBoard and trackio, the real ones: what they show is what was measured. And the line on a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import MissingExtra
from ownlm.train.hooks import Hook, TensorBoard, Trackio
from ownlm.train.progress import ProgressLine
from ownlm.train.run_facts import RunFacts

STEPS = 4


def facts(out: Path, first_step: int = 0) -> RunFacts:
    recipe = {"schedule": {"steps": STEPS}, "seed": 7}
    return RunFacts(
        name="made",
        out=out,
        steps=STEPS,
        tokens_per_step=64,
        parameters=1000,
        flops_per_token=6e3,
        recipe=recipe,
        first_step=first_step,
    )


def metrics(step: int) -> dict[str, Any]:
    found = {
        "step": step,
        "loss": 4.0 / step,
        "lr": 0.5,
        "tokens": 64 * step,
        "seconds": 2.0,
        "tokens_per_second": 32.0,
    }
    return found | (
        {"valid_bits_per_byte": 1.5, "sample": "the gate"} if step == STEPS else {"grad_norm": float("inf")}
    )


def play(hook: Hook, out: Path, first: int = 1, to: int = STEPS) -> None:
    hook.on_start(facts(out, first - 1))
    for step in range(first, to + 1):
        hook.on_step(metrics(step))
    hook.on_end({"steps": to, "tokens": 64 * to, "seconds": 8.0, "loss": 1.0, "stopped": None})


def test_tensorboard_shows_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    play(TensorBoard(), tmp_path, to=3)
    play(TensorBoard(), tmp_path, first=3)  # killed in step 3 of the first
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    tags = set(found.Tags()["scalars"])
    assert tags == {"train/loss", "train/lr", "train/tokens", "train/seconds", "train/tokens_per_second"} | {
        "valid/valid_bits_per_byte"
    }
    losses = found.Scalars("train/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4]
    assert [event.value for event in losses] == pytest.approx([4.0, 2.0, 4 / 3, 1.0])


def test_trackio_keeps_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    # A process of its own: trackio reads its folder when it is imported, and keeps threads.
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import test_hooks
from ownlm.train.hooks import Trackio
test_hooks.play(Trackio("made-project"), Path({str(tmp_path)!r}), to=3)
test_hooks.play(Trackio("made-project"), Path({str(tmp_path)!r}), first=4)
from trackio.sqlite_storage import SQLiteStorage
logs = SQLiteStorage.get_logs("made-project", "made")
print(sorted((log["step"], log["loss"]) for log in logs if "loss" in log))
print(sorted(SQLiteStorage.get_run_config("made-project", "made").items()))
"""
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[(1, 4.0), (2, 2.0), (3, 1.3333333333333333), (4, 1.0)]" in done.stdout
    assert "('schedule.steps', 4), ('seed', 7)" in done.stdout


@pytest.mark.parametrize(("hook", "package"), [(TensorBoard, "tensorboard"), (Trackio, "trackio")])
def test_what_is_not_installed_is_named(hook: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package or "torch.utils.tensorboard" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=f"{package} is not installed: pip install 'ownlm"):
        hook()


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    play(ProgressLine(stream, seconds_between_lines=0), tmp_path)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training made: 1,000 parameters, 4 steps of 64 tokens, 1.5e+06 FLOPs, on cpu in float32"
    assert lines[1] == "step 1/4: loss 4.000, 32 tokens/s, 6 s left"
    assert lines[4] == "step 4/4: loss 3.298, 1.500 bits per byte, 32 tokens/s"
    assert lines[5] == "done: 4 steps in 8 s, loss 1.000"


def test_lines_come_now_and_then(tmp_path: Path) -> None:
    stream = io.StringIO()
    play(ProgressLine(stream, seconds_between_lines=3600), tmp_path)
    assert [line[:8] for line in stream.getvalue().splitlines()] == ["training", "step 1/4", "step 4/4", "done: 4 "]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    play(ProgressLine(stream), tmp_path)
    shown = stream.getvalue()
    assert "━" in shown and "loss" in shown and "32 tokens/s" in shown
    assert "done: 4 steps in 8 s" in shown


def test_a_stopped_run_says_why(tmp_path: Path) -> None:
    stream = io.StringIO()
    hook = ProgressLine(stream)
    hook.on_start(facts(tmp_path))
    hook.on_end({"steps": 2, "seconds": 3.0, "loss": None, "stopped": "KeyboardInterrupt"})
    assert stream.getvalue().splitlines()[-1] == "stopped: KeyboardInterrupt: 2 steps in 3 s"

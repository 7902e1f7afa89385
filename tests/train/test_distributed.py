"""Several processes compute what one computes: torchrun, FSDP2 and gloo, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
sys.path.append(str(Path(__file__).parent))
import distributed_child  # noqa: E402
import tiny_run  # noqa: E402

from ownlm.errors import CorruptModel, InvalidSetting  # noqa: E402
from ownlm.model import checkpoint  # noqa: E402
from ownlm.train.distributed import World, alone, joined  # noqa: E402
from ownlm.train.metrics import read_history  # noqa: E402
from ownlm.train.rows import Feed, TokenRows  # noqa: E402
from ownlm.train.trainer import Trainer  # noqa: E402

torch.set_num_threads(1)

CHILD = Path(__file__).parent / "distributed_child.py"
STEPS = 12
SETTINGS: dict[str, Any] = {"micro": 2, "measured_rows": 5}  # parts to add up; validation that does not come out even
Run = tuple[Path, int | None, dict[str, Any]]


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)


def by_two(data: Path, *runs: Run) -> subprocess.CompletedProcess[str]:
    """Runs one after another in two processes."""
    told = json.dumps([(str(out), stop, SETTINGS | changes) for out, stop, changes in runs])
    return torchrun(str(CHILD), str(data), told)


def by_one(data: Path, out: Path, stop: int | None = None) -> None:
    distributed_child.play(alone(), data, out, stop, dict(SETTINGS))


def history(out: Path) -> list[dict[str, Any]]:
    return read_history(out / "metrics.jsonl").steps


def assert_same(found: Path, expected: Path) -> None:
    ours, theirs = history(found), history(expected)
    assert [step["step"] for step in ours] == [step["step"] for step in theirs] == list(range(1, STEPS + 1))
    for name in ("loss", "grad_norm", "tokens", "valid_loss", "valid_bits_per_byte"):
        for one, other in zip(ours, theirs, strict=True):
            assert (name in one) == (name in other)
            if name in one:
                scale = other[name] if name == "grad_norm" else 1.0  # norms near 10 have six digits in float32
                assert abs(one[name] - other[name]) <= 1e-5 * scale, (name, one["step"])
    weights = [checkpoint.load(out / "model").tensors for out in (found, expected)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert np.abs(tensor.float32() - weights[1][name].float32()).max() < 1e-4, name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """one: a run in one process. two: in two. one-two: begun in one, killed, gone on in two; and two-one."""
    out = tmp_path_factory.mktemp("runs")
    by_one(data, out / "one")
    by_one(data, out / "one-two", stop=6)
    done = by_two(data, (out / "two", None, {}), (out / "two-one", 6, {}), (out / "one-two", None, {}))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (out / "two-one" / "checkpoints").iterdir()] == ["step-00000004"]
    by_one(data, out / "two-one")
    return out


def test_two_processes_have_the_losses_and_weights_of_one(runs: Path) -> None:
    assert_same(runs / "two", runs / "one")
    assert read_history(runs / "two" / "metrics.jsonl").run["processes"] == 2


@pytest.mark.parametrize("which", ["one-two", "two-one"])
def test_a_killed_run_goes_on_with_another_number_of_processes(which: str, runs: Path) -> None:
    assert read_history(runs / which / "metrics.jsonl").run["first_step"] == 4
    assert_same(runs / which, runs / "one")


def test_both_kinds_of_checkpoints_are_counted_and_removed(runs: Path) -> None:
    kept = sorted(path.name for path in (runs / "one-two" / "checkpoints").glob("step-*"))
    assert kept == ["step-00000008", "step-00000012"]
    kept = sorted(path.name for path in (runs / "two-one" / "checkpoints").glob("step-*"))
    assert kept == ["step-00000008.pt", "step-00000012.pt"]


def test_a_damaged_checkpoint_is_named(data: Path, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "two" / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "step-00000012" / "state.json").unlink()
    with pytest.raises(CorruptModel, match="step-00000012 is no checkpoint of a training run"):
        Trainer(tiny_run.recipe(data, **SETTINGS), tmp_path)


RECIPE = """
import sys
from pathlib import Path
sys.path += {paths!r}
import tiny_run

def recipe():
    return tiny_run.recipe(Path({data!r}))
"""


def test_the_command_runs_in_two_processes_and_one_speaks(data: Path, tmp_path: Path) -> None:
    paths = [str(Path(__file__).parent)]
    (tmp_path / "tiny.py").write_text(RECIPE.format(paths=paths, data=str(data)), "utf-8")
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "tiny.py"), "--out", str(out), "--set", "schedule.steps=2"]
    done = torchrun("-m", "ownlm", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(out / "model")) == 1 and done.stderr.count("preparing") == 1
    assert "2 processes" in done.stderr
    assert (out / "model" / "model.safetensors").is_file() and (out / "report.html").is_file()


def test_batches_are_dealt_out_evenly() -> None:
    for count in range(7):
        found = [list(World(rank, 3).dealt(range(count))) for rank in range(3)]
        assert len({len(part) for part in found}) == 1
        assert sorted(batch for part in found for batch, counts in part if counts) == list(range(count))


def test_a_batch_that_cannot_be_shared_is_refused(data: Path) -> None:
    with pytest.raises(InvalidSetting, match="batch is 3: give a number of rows that 2 processes share equally"):
        Feed(TokenRows(data, "train", 32), batch=3, micro=1, seed=0, world=2)


def test_what_torchrun_sets_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InvalidSetting, match="WORLD_SIZE is 'two'"), joined():
        pass

"""The loop: it learns, resumes to the bit, does not mind how a batch is split, and stops with a reason."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent))
import tiny_run  # noqa: E402

from ownlm import LLM  # noqa: E402
from ownlm.errors import CorruptModel, DiskFull, Diverged, InvalidSetting, OtherRecipe  # noqa: E402
from ownlm.train import trainer as loop  # noqa: E402
from ownlm.train.dial import LearningRates  # noqa: E402
from ownlm.train.optim import OptimizerSettings  # noqa: E402
from ownlm.train.recipe import Base  # noqa: E402
from ownlm.train.schedule import Schedule  # noqa: E402
from ownlm.train.trainer import Trainer, train  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.shards(tmp_path_factory.mktemp("data") / "shards")


class Losses:
    """A hook that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.result: dict[str, Any] = {}

    def on_start(self, facts: Any) -> None:
        self.facts = facts

    def on_step(self, metrics: Any) -> None:
        self.steps.append(dict(metrics))

    def on_end(self, result: Any) -> None:
        self.result = dict(result)


def losses(recipe: Any, out: Path) -> list[float]:
    seen = Losses()
    train(recipe, out, hooks=[seen])
    return [metrics["loss"] for metrics in seen.steps]


def test_it_learns_and_what_it_wrote_is_served(data: Path, tmp_path: Path) -> None:
    recipe = tiny_run.recipe(data, schedule=Schedule(steps=60, warmup=5), save_every=0, measure_every=30)
    seen = Losses()
    result = train(recipe, tmp_path / "run", hooks=[seen])
    first, last = seen.steps[0], seen.steps[-1]
    assert first["loss"] == pytest.approx(5.77, abs=0.1)  # ln 320: a new model knows nothing
    assert last["valid_loss"] < first["loss"] - 2
    assert result["steps"] == 60 and result["tokens"] == 60 * 8 * 32 and result["stopped"] is None
    assert seen.facts.parameters == sum(p.numel() for p in Trainer(recipe, tmp_path / "new").model.parameters())
    with LLM(tmp_path / "run" / "model") as llm:
        out = llm.generate("the lamp", max_tokens=8, temperature=0.0)
    assert out.token_ids and set(out.text.replace(".", " ").split()) & set(tiny_run.WORDS)


def test_a_resumed_run_is_the_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    recipe = tiny_run.recipe(data)
    whole = losses(recipe, tmp_path / "whole")
    first = Trainer(recipe, tmp_path / "parts")
    for _ in range(5):
        first.one_step()
    first.checkpoints.save(first.state())
    first.one_step()  # is lost
    assert losses(recipe, tmp_path / "parts") == whole[5:]
    names = ("model.safetensors",)
    assert all(
        (tmp_path / "whole/model" / name).read_bytes() == (tmp_path / "parts/model" / name).read_bytes()
        for name in names
    )


def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_been(data: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys; sys.path.append({str(Path(__file__).parent)!r})
        import tiny_run
        from pathlib import Path
        from ownlm.train.schedule import Schedule
        from ownlm.train.trainer import train
        class Say:
            def on_start(self, facts): pass
            def on_step(self, metrics): print(metrics["step"], metrics["loss"].hex(), flush=True)
            def on_end(self, result): pass
        recipe = tiny_run.recipe(Path({str(data)!r}), schedule=Schedule(steps=40, warmup=2), save_every=1)
        train(recipe, Path(sys.argv[1]), hooks=[Say()])
    """)

    def run(out: Path, kill_at: int | None = None) -> dict[int, str]:
        process = subprocess.Popen([sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        found = {}
        for line in process.stdout:
            step, loss = line.split()
            found[int(step)] = loss
            if kill_at == int(step):
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
        assert kill_at is not None or process.returncode == 0
        process.stdout.close()
        return found

    whole = run(tmp_path / "whole")
    assert len(whole) == 40
    killed = run(tmp_path / "killed", kill_at=int.from_bytes(os.urandom(1)) % 30 + 3)
    again = run(tmp_path / "killed")
    assert {**killed, **again} == whole and len(again) < 40
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("micro", [1, 2, 3, 8])
def test_the_split_of_a_batch_does_not_matter(data: Path, tmp_path: Path, micro: int) -> None:
    whole = losses(tiny_run.recipe(data, micro=8), tmp_path / "whole")
    assert losses(tiny_run.recipe(data, micro=micro), tmp_path / "split") == pytest.approx(whole, abs=1e-5)


def test_a_longer_run_goes_on_from_the_flat_part(data: Path, tmp_path: Path) -> None:
    short = tiny_run.recipe(data, schedule=Schedule(steps=8, warmup=1, decay=0.5), save_every=2)
    longer = dataclasses.replace(short, schedule=Schedule(steps=16, warmup=1, decay=0.5))
    whole = losses(longer, tmp_path / "whole")
    losses(short, tmp_path / "run")
    seen = Losses()
    train(longer, tmp_path / "run", hooks=[seen])
    assert seen.facts.first_step == 5 and seen.steps[-1]["step"] == 16
    assert [metrics["loss"] for metrics in seen.steps] == whole[5:]


def test_recomputing_activations_changes_nothing(data: Path, tmp_path: Path) -> None:
    assert losses(tiny_run.recipe(data, recompute=True), tmp_path / "a") == losses(
        tiny_run.recipe(data), tmp_path / "b"
    )


def test_bfloat16_learns_too(data: Path, tmp_path: Path) -> None:
    plain = losses(tiny_run.recipe(data), tmp_path / "a")
    low = losses(tiny_run.recipe(data, precision="bfloat16"), tmp_path / "b")
    assert low == pytest.approx(plain, abs=0.05) and low != plain


def test_a_rate_that_diverges_stops_the_run(data: Path, tmp_path: Path) -> None:
    wild = OptimizerSettings(rates=LearningRates(50.0, 50.0, 50.0, 50.0, 50.0, 0.0), clip=1e9)
    recipe = tiny_run.recipe(data, optimizer=wild, save_every=1, schedule=Schedule(steps=100))
    with pytest.raises(Diverged, match=r"lower the learning rates; the last good checkpoint is .*step-0000"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_a_checkpoint_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    train(tiny_run.recipe(data), tmp_path / "run")
    with pytest.raises(OtherRecipe, match="seed was 0, is 1"):
        train(tiny_run.recipe(data, seed=1), tmp_path / "run")


def test_a_damaged_checkpoint_is_refused(data: Path, tmp_path: Path) -> None:
    train(tiny_run.recipe(data), tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CorruptModel, match=newest.name):
        train(tiny_run.recipe(data), tmp_path / "run")


def test_a_full_disk_stops_the_run_and_keeps_what_was_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_run.recipe(data)
    save = torch.save

    def full(values: Any, file: Any) -> None:
        if values["step"] > 4:
            raise OSError(28, "No space left on device")
        save(values, file)

    monkeypatch.setattr("ownlm.train.state.torch.save", full)
    with pytest.raises(DiskFull, match=r"flat\.pt"):
        train(recipe, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004.pt"]
    monkeypatch.undo()
    assert losses(recipe, tmp_path / "run") == losses(recipe, tmp_path / "whole")[4:]


def test_what_stands_beside_a_base_goes_along(data: Path, tmp_path: Path) -> None:
    train(tiny_run.recipe(data, schedule=Schedule(steps=1)), tmp_path / "first")
    base = tmp_path / "first" / "model"
    assert not (base / "manifest.json").exists()  # which is of the shards
    (base / "prompts.json").write_text("{}")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")
    recipe = tiny_run.recipe(data, model=Base(base), schedule=Schedule(steps=1))
    train(recipe, tmp_path / "second")
    Trainer(recipe, tmp_path / "second").write(tmp_path / "second" / "model")  # over what is there
    made = tmp_path / "second" / "model"
    assert (made / "prompts.json").read_text() == "{}"
    assert (made / "additional_chat_templates" / "tool_use.jinja").is_file()


def test_a_folder_is_one_runs_alone(data: Path, tmp_path: Path) -> None:
    class Second:
        """A hook that starts the same run again."""

        said = ""

        def on_start(self, facts: Any) -> None:
            with pytest.raises(InvalidSetting) as caught:
                train(tiny_run.recipe(data), tmp_path / "run")
            self.said = str(caught.value)

        def on_step(self, metrics: Any) -> None: ...

        def on_end(self, result: Any) -> None: ...

    second = Second()
    train(tiny_run.recipe(data), tmp_path / "run", hooks=[second])
    assert "another run goes on there" in second.said
    train(tiny_run.recipe(data), tmp_path / "run")  # it is over, and nothing is left to do


def test_the_clock_can_end_a_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100000, 6))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now))
    recipe = tiny_run.recipe(data, schedule=Schedule(steps=1000, minutes=1.0))
    seen = Losses()
    result = train(recipe, tmp_path / "run", hooks=[seen])
    assert result["steps"] == 10
    assert [round(metrics["lr"], 3) for metrics in seen.steps] == [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]


@pytest.mark.parametrize("changes", [{"length": 100_000}, {"schedule": None}])
def test_impossible_settings_are_named(data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=r"length is 100000|schedule\.steps is 0"):
        if changes.get("schedule", 1) is None:
            changes = {"schedule": Schedule(steps=0)}
        train(tiny_run.recipe(data, **changes), tmp_path / "run")


def test_the_recipe_stands_beside_the_model(data: Path, tmp_path: Path) -> None:
    train(tiny_run.recipe(data), tmp_path / "run")
    found = json.loads((tmp_path / "run/model/recipe.json").read_bytes())
    assert found["batch"] == 8 and found["loss"] == "ownlm.train.losses.cross_entropy"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU compiles")
def test_compiling_on_a_cpu_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="compile is True: on a CPU"):
        Trainer(tiny_run.recipe(data, compile=True), tmp_path)

"""``ownlm eval`` as people meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import public_sets as sets
import pytest

import tiny_llm
from ownlm.cli import main
from ownlm.cli.eval import TASKS
from ownlm.evals import catalog

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = main(["eval", *map(str, words)])
        out, err = capfdbinary.readouterr()
        return code, out.decode("utf-8"), err.decode("utf-8")

    return run


@pytest.fixture
def data(put: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, rows in sets.ROWS.items():
        folder = put(name, rows)
    monkeypatch.setenv("OWNLM_DATA", str(folder))
    return Path(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_llm.write_tiny_llm(folder, max_position_embeddings=1024)
    (folder / "prompts.json").write_text(json.dumps({"grounded": "grounded-short-1"}))
    return folder


def test_the_commands_are_the_tasks() -> None:
    assert list(TASKS) == list(catalog.TASKS)


def test_a_task_prints_its_figures(call: Run, data: Path, model: Path, tmp_path: Path) -> None:
    out, answers = tmp_path / "figures.json", tmp_path / "answers.jsonl"
    words = ("squad2_free", "-m", model, "--limit", "3", "--out", out, "--answers", answers)
    code, shown, err = call(*words)
    assert code == 0
    header, first, *_ = shown.splitlines()
    assert header.split()[:4] == ["task", "samples", "figure", "value"]
    assert first.startswith("squad2_free  3 of 4") and "always refusing" in first
    assert "squad2_free: 3 of 3" in err and "answers were cut at 64 tokens" in err
    written = json.loads(out.read_text())
    assert written["format"] == "ownlm-evals-1" and written["fingerprint"]
    assert written["tasks"]["squad2_free"]["prompt"] == "grounded-short-1"
    lines = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
    assert len(lines) == 3 and set(lines[0]) == {"id", "answer", "references", "score"}
    code, shown, _ = call(*words[:5], "--json")
    assert code == 0 and json.loads(shown) == written["tasks"]["squad2_free"]


def test_the_starters_figures_stand_beside_the_model_and_repeat(call: Run, data: Path, model: Path) -> None:
    code, shown, err = call("starter", "-m", model)
    assert code == 0, err
    for name in TASKS:
        assert f"\n{name} " in shown
    assert "As the default of ask: not earned. HasAns F1" in shown and str(model / "evals.json") in err
    first = (model / "evals.json").read_bytes()
    assert list(json.loads(first)["tasks"]) == list(TASKS)
    code, shown, _ = call("starter", "-m", model, "--json", "--out", model.parent / "again.json")
    assert code == 0 and (model.parent / "again.json").read_bytes() == first
    assert json.loads(shown) == json.loads(first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["squad2", "-m", "MODEL", "--limit", "0"], "--limit is 0"),
        (
            ["squad2", "-m", "MODEL", "--data", "/nowhere/at/all"],
            "--data is '/nowhere/at/all': there is no such folder",
        ),
        (["squad2", "-m", "/nowhere/at/all"], "no model '/nowhere/at/all'"),
        (["squad2", "-m", "MODEL", "--out", "/proc/figures.json"], "--out is '/proc/figures.json'"),
        (["squad2", "-m", "MODEL", "--answers", "/proc/answers"], "--answers is '/proc/answers'"),
        (["starter", "-m", "MODEL", "--out", "/proc/figures.json"], "--out is '/proc/figures.json'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], said: str, call: Run, data: Path, model: Path) -> None:
    code, out, err = call(*(str(model) if word == "MODEL" else word for word in words))
    assert (code, out) == (2, "")
    assert err.startswith("ownlm: ") and said in err and err.count("\n") == 1, err


@pytest.mark.parametrize("task", ["squad2", "starter"])
def test_without_data_it_says_so(task: str, call: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OWNLM_DATA", raising=False)
    code, out, err = call(task, "-m", model)
    assert (code, out) == (2, "") and err.startswith("ownlm: OWNLM_DATA is ''") and err.count("\n") == 1


def test_a_damaged_set_is_told_before_the_model_is_loaded(call: Run, data: Path) -> None:
    (data / "code/mbpp.jsonl.xz").write_bytes(b"no archive")
    code, _, err = call("mbpp_lines", "-m", "/nowhere/at/all")
    assert code == 2 and "mbpp.jsonl.xz" in err and err.count("\n") == 1

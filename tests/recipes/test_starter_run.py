"""The whole way from made-up sets to a model's folder and card, at depth 2; and the way over a borrowed machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ownlm import hub
from ownlm.cli import main
from ownlm.engine.llm import LLM
from ownlm.evals.results import update
from ownlm.prompts import load

RECIPES = Path(__file__).parents[2] / "recipes"
FIGURE = {"value": 50.0, "low": 45.0, "high": 55.0, "samples": 10}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The recipes as modules, with a vocabulary and a standard library that little text supports."""
    sys.path.insert(0, str(RECIPES))
    import starter_corpus
    import starter_plan
    import starter_tuning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            starter_tuning, "PARTS", [replace(part, rows=min(part.rows, 90)) for part in starter_tuning.PARTS]
        )
        sources = [
            replace(source, small=min(source.small, 0.05), large=min(source.large, 0.05))
            for source in starter_corpus.SOURCES
        ]
        patch.setattr(starter_corpus, "SOURCES", sources)
        patch.setitem(starter_corpus.VOCABULARY, "small", 400)
        patch.setitem(starter_corpus.VOCABULARY, "large", 400)
        patch.setattr(starter_plan, "SMALL", replace(starter_plan.SMALL, depth=2, length=128, tokens_per_second=100))
        patch.setattr(starter_plan, "LEAST_ROWS", 2)
        yield
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to the packed model."""
    out = tmp_path_factory.mktemp("starter")
    run(data, out, "pack")
    return out


def run(data: Path, out: Path, until: str) -> None:
    import starter

    words = ["starter.py", "--data", data, "--out", out, "--size", "small", "--budget", "0.05", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*map(str, words), "--until", until])
        starter.main()


def model_in(out: Path) -> Path:
    (found,) = out.glob("starter-*")
    return found


def test_what_is_made_is_a_model_that_writes(out: Path) -> None:
    with LLM(model_in(out)) as llm:
        said = llm.chat([{"role": "user", "content": "Hello"}], max_tokens=8, temperature=0)
        assert said.completion_tokens > 0
        assert load("grounded", llm).version == "grounded-short-1"
    config = json.loads((model_in(out) / "config.json").read_text())
    assert config["quantization_config"]["format"] == "q4_0"
    assert config["max_position_embeddings"] == 1024
    assert (model_in(out) / "receipt.json").is_file()
    steps = json.loads((model_in(out) / "parity.json").read_text())["steps"]
    assert [step["step"] for step in steps][-1] == "q4_0"
    assert all(step["passed"] for step in steps)


def test_a_second_time_nothing_is_done_twice(data: Path, out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run(data, out, "pack")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_the_card_is_made_of_what_lies_beside_it(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import starter_card

    folder = model_in(out)
    squad = {
        "samples": 10,
        "metrics": {"F1": FIGURE, "HasAns F1": {**FIGURE, "value": 12.5}},
        "baseline": {"name": "always refusing", "metrics": {"F1": FIGURE}},
    }
    update(folder / "evals.json", "tasks", {"squad2": squad}, model="m", fingerprint="f")
    update(folder / "evals.json", "safety", {"told": 1}, model="m", fingerprint="f")
    monkeypatch.setattr(starter_card, "lines", lambda found: [f"safety line {found['told']}"])
    starter_card.write(folder)
    card = (folder / "README.md").read_text("utf-8")
    assert "It is a demonstration" in card and "not earned" in card
    assert "12.5" in card and "always refusing 50.0" in card and "safety line 1" in card
    assert "SQuAD 1.1 train (Rajpurkar et al. 2016) | CC BY-SA 4.0" in card
    assert "$" not in card
    for text in (card, (folder / "NOTICE").read_text("utf-8"), (folder / "made.json").read_text("utf-8")):
        assert str(out) not in text
    assert "Wikipedia" in (folder / "NOTICE").read_text("utf-8")
    assert "README.md" in hub.verify(folder)
    squad["metrics"] = {"F1": {**FIGURE, "value": 56.0}, "HasAns F1": {**FIGURE, "value": 36.0}}
    update(folder / "evals.json", "tasks", {"squad2": squad}, model="m", fingerprint="f")
    starter_card.write(folder)
    card = (folder / "README.md").read_text("utf-8")
    assert "demonstration" not in card and "not earned" not in card


def test_the_model_can_be_shown(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(model_in(out))]) == 0
    assert "q4_0" in capfd.readouterr().out


def test_the_way_over_a_borrowed_machine(out: Path, tmp_path: Path) -> None:
    """Pieces there, a run that outlives its starter and needs nothing but torch and NumPy, pieces back."""
    import starter_borrowed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starter_borrowed, "PIECE", 100_000)
        starter_borrowed.stage(out, tmp_path / "staged", 128)
    pieces = sorted((tmp_path / "staged").glob("piece-*"))
    assert len(pieces) > 5
    assert all(path.stat().st_size <= 100_000 for path in pieces)

    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("tokenizers", "jinja2", "typer", "rich", "fastapi", "huggingface_hub", "llguidance"):
        (blocked / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} on the borrowed machine')")
    there = tmp_path / "there"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import starter_corpus, starter_plan, starter_borrowed\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "starter_corpus.VOCABULARY['large'] = 400\n"
        "starter_plan.LEAST_ROWS = 2\n"
        "plan = replace(starter_plan.LARGE, depth=2, minutes=0.05, length=128, threads=1, tokens_per_second=100)\n"
        "out = Path(sys.argv[2])\n"
        "starter_borrowed.work(out, plan)\n"
    )
    starter_borrowed.joined(tmp_path / "staged", there)
    environment = {**os.environ, "PYTHONPATH": f"{blocked}:{RECIPES.parent / 'src'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, RECIPES, there], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert (there / "done.json").is_file()
    back = tmp_path / "back"
    (there / "back").rename(back)
    starter_borrowed.joined(back, tmp_path / "home")
    with LLM(tmp_path / "home" / "tuned" / "model") as llm:
        assert llm.generate("The", max_tokens=3).completion_tokens > 0
    assert (tmp_path / "home" / "tuned" / "metrics.jsonl").is_file()


def test_a_launched_run_outlives_its_starter(out: Path, tmp_path: Path) -> None:
    """Only that it is started, in a session of its own, and says what went wrong in its log."""
    import starter_borrowed
    import starter_plan

    starter_borrowed.cut({"x": out / "shards" / "manifest.json"}, staged := tmp_path / "staged", 1000)
    starter_borrowed.launch(staged, tmp_path / "there", replace(starter_plan.LARGE, minutes=0.1, depth=2))
    assert (tmp_path / "there" / "x").read_bytes() == (out / "shards" / "manifest.json").read_bytes()
    process = int((tmp_path / "there" / "pid").read_text())
    assert os.getsid(process) == process
    os.waitpid(process, 0)
    assert "shards" in (tmp_path / "there" / "log.txt").read_text()


def test_a_piece_that_was_altered_is_named(out: Path, tmp_path: Path) -> None:
    import starter_borrowed

    starter_borrowed.cut({"x": out / "shards" / "manifest.json"}, tmp_path / "staged", 1000)
    (tmp_path / "staged" / "piece-0000").write_bytes(b"other")
    with pytest.raises(SystemExit, match="piece-0000 is altered: carry it again"):
        starter_borrowed.joined(tmp_path / "staged", tmp_path / "there")


@pytest.mark.parametrize(
    ("size", "minutes", "said"), [("huge", None, "--size is 'huge'"), ("small", 0.0, "--budget is 0.0")]
)
def test_bad_plans_are_refused(size: str, minutes: float | None, said: str) -> None:
    import starter_plan

    with pytest.raises(Exception, match=said):
        starter_plan.plan_for(size, minutes)


def test_plans_fit_what_ships() -> None:
    """The large one below 45 MB at 4.5 bits a weight and 8.5 for the embedding, in shapes of whole blocks."""
    import starter_plan

    from ownlm.train.dial import dial

    shape = dial(starter_plan.LARGE.depth, 8192, context=1024).shape
    parameters = shape.parameters()
    assert 65e6 < parameters.total < 75e6
    assert (parameters.projections * 4.5 + parameters.embedding * 8.5) / 8 < 44e6
    assert all(size % 256 == 0 for size in (shape.width, shape.ffn, shape.heads * shape.head_dim))

"""Recipes as files, settings changed by name, and ``ownlm train`` over them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent))
import tiny_run

from ownlm.cli import main
from ownlm.errors import InvalidSetting, NotFound, OtherRecipe
from ownlm.train.corpus import Corpus
from ownlm.train.data import BuildSettings, Source
from ownlm.train.recipe_file import load, with_settings

FILE = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
import tiny_run
from pathlib import Path

def recipe(depth: int = 2):
    made = tiny_run.recipe(Path(DATA))
    assert depth < 9, "no deeper than 8"
    return made
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture
def file(data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("DATA", repr(str(data))))
    return path


def test_settings_are_changed_by_name(file: Path) -> None:
    recipe = load(file)
    changed = with_settings(
        recipe,
        ["schedule.steps=7", "optimizer.rates.matrices=0.5", "average=none", "recompute=true", "schedule.minutes=2.5"],
    )
    assert (changed.schedule.steps, changed.optimizer.rates.matrices) == (7, 0.5)
    assert (changed.average, changed.recompute, changed.schedule.minutes) == (None, True, 2.5)
    assert set(recipe.changes(changed.to_json())) == {"optimizer.rates.matrices", "average", "recompute"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("steps=3", "no such setting; there are: average, batch"),
        ("schedule.step=3", "no such setting; there are: decay, final"),
        ("schedule.steps", "NAME=VALUE"),
        ("schedule.steps=many", "it must be int"),
        ("schedule.steps=none", "it must be int"),
        ("recompute=perhaps", "true or false"),
        ("loss=x", "in the recipe's file only"),
        ("schedule=x", "in the recipe's file only"),
        ("seed.x=3", "no settings of its own"),
    ],
)
def test_a_wrong_change_is_named(file: Path, change: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        with_settings(load(file), [change])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "no function recipe"),
        ("def recipe(): return 3", "returned int, not a Recipe"),
        ("def recipe():\n    return 1 / 0", "on line 2: ZeroDivisionError"),
        ("def recipe(:", "on line 1: SyntaxError"),
        ("import nothing_of_that_name", "on line 1: ModuleNotFoundError"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.py").write_text(text)
    with pytest.raises(InvalidSetting, match=said):
        load(tmp_path / "r.py")


def test_what_a_recipe_does_not_take_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.py is not there"):
        load(tmp_path / "none.py")
    (tmp_path / "r.py").write_text("def recipe(): ...")
    with pytest.raises(InvalidSetting, match=r"--depth is 3: recipe\(\) in .* has no parameter depth"):
        load(tmp_path / "r.py", depth=3)
    with pytest.raises(InvalidSetting, match="AssertionError: no deeper than 8"):
        load(file, depth=9)


def test_the_command_trains_and_says_where(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", str(file), "--out", str(out), "--set", "schedule.steps=6"]) == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[0] == str(out / "model") and "bits per byte" in said.out
    assert (out / "report.html").is_file()
    assert len((out / "metrics.jsonl").read_text().splitlines()) >= 6
    assert json.loads((out / "model" / "config.json").read_bytes())["model_type"] == "qwen3"


def test_bad_input_is_one_line_and_exit_code_2(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["train", str(tmp_path / "no.py")], ["train", str(file), "--set", "x=1"], ["train"]):
        assert main(words) == 2
        said = capfd.readouterr()
        assert said.err.strip().splitlines()[-1].count(":") and "Traceback" not in said.err and not said.out


def test_a_corpus_is_built_once_and_never_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for number, text in enumerate(tiny_run.texts(200)):
        (tmp_path / "text" / f"{number}.txt").write_text(text)
    sources = (Source("notes", tmp_path / "text"),)
    corpus = Corpus(tmp_path / "shards", sources, BuildSettings(vocab_size=300, valid=0.1))
    first = corpus.open(tmp_path / "shards", 16, tmp_path)
    made = (tmp_path / "shards" / "manifest.json").stat().st_mtime_ns
    assert len(corpus.open(tmp_path / "shards", 16, tmp_path).train) == len(first.train)
    assert (tmp_path / "shards" / "manifest.json").stat().st_mtime_ns == made
    for other in (
        dataclasses.replace(corpus, settings=BuildSettings(vocab_size=290, valid=0.1)),
        dataclasses.replace(corpus, settings=BuildSettings(vocab_size=300, valid=0.2)),
        dataclasses.replace(corpus, sources=(Source("others", tmp_path / "text"),)),
    ):
        with pytest.raises(OtherRecipe, match=r"(vocab_size|valid|sources) was .* is "):
            other.open(tmp_path / "shards", 16, tmp_path)

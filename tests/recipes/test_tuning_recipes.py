"""The tuning recipes run as they stand, on a tiny model, and the grounded one makes the conversations that it says."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path += [str(Path(__file__).parents[2] / part) for part in ("tests/train", "tests/model", "recipes")]
import grounded as grounded_recipe
import torch
from tiny_families import save
from tuning_support import write_lines, write_tokenizer

from ownlm.errors import InvalidData
from ownlm.prompts import grounded
from ownlm.train.recipe import Base, Recipe
from ownlm.train.recipe_file import load
from ownlm.train.schedule import Schedule
from ownlm.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return write_tokenizer(save(folder, "qwen3", vocab_size=304, max_position_embeddings=1024))


def short(recipe: Recipe, model: Path) -> Recipe:
    assert isinstance(recipe.model, Base)
    base = dataclasses.replace(recipe.model, path=model)
    return dataclasses.replace(recipe, model=base, length=1024, schedule=Schedule(steps=2), precision="float32")


@pytest.mark.parametrize("name", ["sft", "lora", "dpo", "grounded"])
def test_a_recipe_runs(name: str, model: Path, tmp_path: Path) -> None:
    recipe = load(ROOT / "recipes" / f"{name}.py")
    assert recipe.name == name
    result = Trainer(short(recipe, model), tmp_path / "run").run()
    assert result["steps"] == 2
    files = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "recipe.json"} <= files
    assert (tmp_path / "run" / "adapter").is_dir() == (name != "sft")
    if name == "grounded":
        said = json.loads((tmp_path / "run" / "model" / "prompts.json").read_text())
        assert said == {"grounded": grounded.SHORT.version}


ASKED = [
    {"question": f"When is {n}?", "passage": f"Gate {n} opens at {n} o'clock.", "place": f"Gate {n}",
     "answer": f"at {n} o'clock" if n % 3 == 0 else f"It opens at {n}." if n % 3 == 1 else None}
    for n in range(10, 70)
]  # fmt: skip


def test_answers_name_their_passage_and_refusals_have_none(tmp_path: Path) -> None:
    questions = grounded_recipe.read(write_lines(tmp_path / "questions.jsonl", ASKED))
    settings = grounded_recipe.Questions(tmp_path, distractors=3, withheld=0.25, seed=4)
    made = list(grounded_recipe.conversations(questions, settings))
    assert made == list(grounded_recipe.conversations(questions, settings))
    withheld = 0
    places = set()
    for row, messages in zip(ASKED, made, strict=True):
        asked, said = messages[-2]["content"], messages[-1]["content"]
        passages = [line for line in asked.splitlines() if line.startswith("[")]
        own = [at for at, line in enumerate(passages, 1) if str(row["passage"]) in line]
        if said == grounded.NOTHING:
            withheld += row["answer"] is not None
            assert len(own) == (row["answer"] is None)
            continue
        assert len(passages) == 4
        assert len(own) == 1
        places.add(own[0])
        stands = str(row["answer"]) in str(row["passage"])
        wanted = grounded.quoted(str(row["answer"]), own[0]) if stands else grounded.cited(str(row["answer"]), own[0])
        assert said == wanted
    assert 4 <= withheld <= 18  # a quarter of 40
    assert places == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "?", "answer": "x"},
        {"question": "?", "passage": "x", "answer": 3},
        {"question": "?", "passage": "x", "answer": ""},
        {"question": "?", "passage": "x"},
        {"question": "?", "passage": "x", "answer": None, "label": 1},
    ],
)
def test_a_bad_question_is_named(row: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="line 2"):
        grounded_recipe.read(write_lines(tmp_path / "questions.jsonl", [ASKED[0], row]))

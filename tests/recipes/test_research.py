"""The research recipe: the tiny one's text and compute, another decoder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from ownlm.model.decoder_families import decoder_config
from ownlm.train.recipe_file import load
from ownlm.train.shape import flops_per_token

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("depth", [None, 3])
def test_as_much_compute_as_the_shape_that_ships(depth: int | None) -> None:
    flops = []
    for name, kind in (("tiny", "qwen3"), ("research", "ownlm")):
        made = load(RECIPES / f"{name}.py", depth=depth)
        config = decoder_config(made.model.config, name)
        assert config.model_type == kind
        assert config.num_hidden_layers == (depth or 2)
        assert made.model.config["eos_token_id"] == [2, 0]
        flops.append(made.schedule.steps * made.batch * made.length * flops_per_token(config, made.length))
    assert flops[1] == pytest.approx(flops[0], rel=2e-3)


def test_nothing_else_differs() -> None:
    tiny, research = (load(RECIPES / f"{name}.py") for name in ("tiny", "research"))
    changed = tiny.changes(research.to_json())
    assert {name.split(".")[0] for name in changed} <= {"model", "schedule"}

"""Of two answers a model learns to prefer the better one (DPO): `ownlm train recipes/dpo.py`.

It starts from what `recipes/sft.py` made. Adapters are trained, so that the model without them is the reference.
"""

from __future__ import annotations

from pathlib import Path

from ownlm.train.dpo import Dpo
from ownlm.train.lora import AdapterSettings
from ownlm.train.merge import Adapters
from ownlm.train.optim import OptimizerSettings
from ownlm.train.preference_data import Preferences
from ownlm.train.recipe import Base, Recipe
from ownlm.train.schedule import Schedule

MODEL = Path("runs/sft/model")
PREFERENCES = Path(__file__).parents[1] / "examples" / "tuning" / "preferences.jsonl"


def recipe() -> Recipe:
    """``beta`` holds the model near what it was."""
    return Recipe(
        name="dpo",
        model=Base(MODEL, frozen=True),
        data=Preferences((PREFERENCES,)),
        loss=Dpo(beta=0.1),
        tuning=Adapters(AdapterSettings(rank=16, alpha=32), base=str(MODEL)),
        optimizer=OptimizerSettings.adamw(2e-4),
        schedule=Schedule(steps=30, warmup=3, decay=0.8),
        batch=2,
        length=256,
        measure_every=0,
        save_every=10,
    )

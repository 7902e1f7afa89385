"""A model learns what the assistant says in conversations; all its weights move: `ownlm train recipes/sft.py`.

Copy this file, and name your own model and conversations. `ownlm tune MODEL DATA --method full` does the same with
settings worked out from the data.
"""

from __future__ import annotations

from pathlib import Path

from ownlm.train.chat_data import Chats
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Base, Recipe
from ownlm.train.schedule import Schedule

MODEL = Path("runs/tiny/model")
CONVERSATIONS = Path(__file__).parents[1] / "examples" / "tuning" / "conversations.jsonl"


def recipe() -> Recipe:
    """Some passes over the conversations."""
    return Recipe(
        name="sft",
        model=Base(MODEL),
        data=Chats((CONVERSATIONS,)),
        optimizer=OptimizerSettings.adamw(3e-4),
        schedule=Schedule(steps=60, warmup=3, decay=0.8),
        batch=2,
        length=256,
        measure_every=0,
        save_every=20,
    )

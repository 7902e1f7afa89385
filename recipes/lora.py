"""A model learns from conversations with its own weights frozen; adapters move: `ownlm train recipes/lora.py`.

The base may be quantized (`ownlm quantize MODEL --to q4_0`): it stays in its blocks, which is QLoRA. RUN/adapter is
what PEFT reads, RUN/model the merged model. `ownlm tune MODEL DATA` does the same with settings worked out.
"""

from __future__ import annotations

from pathlib import Path

from ownlm.train.chat_data import Chats
from ownlm.train.lora import AdapterSettings
from ownlm.train.merge import Adapters
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Base, Recipe
from ownlm.train.schedule import Schedule

MODEL = Path("runs/tiny/model")
CONVERSATIONS = Path(__file__).parents[1] / "examples" / "tuning" / "conversations.jsonl"


def recipe() -> Recipe:
    """Adapters of rank 16 on every linear layer."""
    return Recipe(
        name="lora",
        model=Base(MODEL, frozen=True),
        data=Chats((CONVERSATIONS,)),
        tuning=Adapters(AdapterSettings(rank=16, alpha=32), base=str(MODEL)),
        optimizer=OptimizerSettings.adamw(2e-3),
        schedule=Schedule(steps=60, warmup=3, decay=0.8),
        batch=2,
        length=256,
        measure_every=0,
        save_every=20,
    )

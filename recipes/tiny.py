"""From text that every machine has to a model that talks: `ownlm train recipes/tiny.py`, minutes on two cores.

It learns from the handbook beside this folder and from packages of Python's own library. What it will say is of that
kind: it shows that every part works, not what a model can do.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from ownlm.train.corpus import Corpus
from ownlm.train.data import BuildSettings, Source
from ownlm.train.dial import dial
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Fresh, Recipe
from ownlm.train.schedule import Schedule

SHARDS = Path("runs/tiny/shards")
HANDBOOK = Path(__file__).parents[1] / "examples" / "handbook"
LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = (
    "asyncio collections concurrent ctypes email html http importlib json logging multiprocessing unittest urllib xml"
)
VOCABULARY, LENGTH = 2048, 256
TOKENS = 3_000_000


def recipe(depth: int = 2) -> Recipe:
    """A model of ``depth`` layers."""
    made = dial(depth, VOCABULARY, context=LENGTH, tokens=TOKENS)
    sources = [
        Source(f"handbook-{kind}", HANDBOOK, "Apache-2.0", weight=4.0, format="text", pattern=f"*.{kind}")
        for kind in ("md", "txt")
    ]
    sources += [
        Source(name, LIBRARY / name, "PSF-2.0", format="text", pattern="*.py")
        for name in PACKAGES.split()
        if (LIBRARY / name).is_dir()
    ]
    ends = {"bos_token_id": None, "eos_token_id": [2, 0], "pad_token_id": 0}
    return Recipe(
        name="tiny",
        model=Fresh(made.shape.config() | ends, SHARDS),
        data=Corpus(SHARDS, tuple(sources), BuildSettings(vocab_size=VOCABULARY, valid=0.03)),
        optimizer=OptimizerSettings(rates=made.rates),
        schedule=Schedule(steps=made.steps, warmup=made.warmup_steps, decay=made.decay_share),
        batch=made.batch_tokens // LENGTH,
        length=LENGTH,
        measure_every=100,
        save_every=100,
    )

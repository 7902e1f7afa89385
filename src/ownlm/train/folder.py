"""The folder that a run ends in: config, weights, tokenizer files, and the recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_json
from ownlm.model import beside, checkpoint
from ownlm.train.decoder import Decoder
from ownlm.train.recipe import Recipe


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Within, the run's folder is this process' alone; the system lets go of it however the process ends.

    Raises InvalidSetting if another run goes on there.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        remedy = "another run goes on there: wait for it, or give another folder"
        raise InvalidSetting("--out", str(out), remedy) from None
    try:
        yield
    finally:
        lock.release()


def write(model: Decoder, target: Path, recipe: Recipe) -> None:
    """Write a model into ``target``, its weights last."""
    target.mkdir(parents=True, exist_ok=True)
    beside.copy(recipe.tokenizer, target)
    raw = {name: value for name, value in model.raw.items() if name != "quantization_config"}
    atomic_json(target / "config.json", raw)
    atomic_json(target / "recipe.json", recipe.to_json())
    if recipe.tuning is not None:
        recipe.tuning.write(model, target)
    else:
        checkpoint.write(target, model.tensors())

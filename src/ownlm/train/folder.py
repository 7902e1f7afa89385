"""The folder that a run ends in: config, weights, tokenizer files, and the recipe."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_write
from ownlm.model import checkpoint
from ownlm.train.decoder import Decoder
from ownlm.train.recipe import Recipe

BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What a model's folder holds beside config and weights."""


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


def write(model: Decoder, source: Path, target: Path, recipe: Recipe) -> None:
    """Write a model into ``target``; files of the tokenizer come from ``source``."""
    target.mkdir(parents=True, exist_ok=True)
    for name in BESIDE:
        if (source / name).is_file():
            with atomic_write(target / name) as file, (source / name).open("rb") as given:
                shutil.copyfileobj(given, file)
    raw = {name: value for name, value in model.raw.items() if name != "quantization_config"}
    for name, value in (("config.json", raw), ("recipe.json", recipe.to_json())):
        with atomic_write(target / name) as file:
            file.write((json.dumps(value, indent=2) + "\n").encode())
    if recipe.tuning is not None:
        recipe.tuning.write(model, target)
    else:
        checkpoint.write(target, model.tensors())

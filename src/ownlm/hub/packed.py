"""Which files hold packed weights of a model (see ``ownlm.model.packed``): by their names alone.

``model-KEY.packed`` in a model folder, ``STEM-KEY.packed`` beside a GGUF file, or ``NAME-PLACE-KEY.packed`` below
``OWNLM_HOME/packed`` where the model's own place cannot be written. KEY and PLACE are 16 digits.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ownlm.errors import InvalidSetting
from ownlm.home import data_home

_NAME = re.compile(r"(.+)-[0-9a-f]{16}\.packed")


def places(model: Path, key: str) -> list[Path]:
    """Where packed weights under ``key`` may be, beside the model first."""
    folder, stem = _beside(model)
    found = [folder / f"{stem}-{key}.packed"]
    if (home := _home()) is not None:
        found.append(home / f"{_own(model)}-{key}.packed")
    return found


def all_packed(model: Path) -> list[Path]:
    """Every file of packed weights of the model, under whatever key."""
    folder, stem = _beside(model)
    found = _named(folder, stem)
    if (home := _home()) is not None:
        found += _named(home, _own(model))
    return found


def digits(text: str) -> str:
    """16 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _beside(model: Path) -> tuple[Path, str]:
    return (model, "model") if model.is_dir() else (model.parent, model.stem)


def _home() -> Path | None:
    try:
        return data_home() / "packed"
    except InvalidSetting:  # it cannot be made: whoever needs it says so
        return None


def _own(model: Path) -> str:
    """How the names of a model's files begin in the folder that all models share."""
    return f"{model.stem}-{digits(str(model.resolve()))}"


def _named(folder: Path, stem: str) -> list[Path]:
    return [file for file in folder.glob("*.packed") if (match := _NAME.fullmatch(file.name)) and match[1] == stem]

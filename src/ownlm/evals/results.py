"""What was measured of a model, kept beside it: ``evals.json`` in its folder, NAME.evals.json by a file NAME.gguf.

{"format": "ownlm-evals-1", "model": ..., "fingerprint": ..., "tasks": {...}, "safety": {...}}

Sections are written one at a time; those of other weights are dropped, since they would be figures of another model.
Neither dates nor times stand in it, so that the same weights give the same file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_json

FORMAT = "ownlm-evals-1"


def results_path(model: Path) -> Path:
    """Where the figures of a model are."""
    return model / "evals.json" if model.is_dir() else model.with_suffix(".evals.json")


def check_writable(setting: str, path: Path) -> None:
    """Raise InvalidSetting, before anything is measured, where ``path`` cannot be written."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(setting, path, error) from None


def unwritable(setting: str, path: Path, error: OSError) -> InvalidSetting:
    """For people, why a file cannot be written."""
    said = (error.strerror or str(error)).lower()
    return InvalidSetting(setting, str(path), f"it cannot be written ({said}): give a file in a folder of yours")


def update(path: Path, section: str, value: Any, *, model: str, fingerprint: str) -> dict[str, Any]:
    """Write ``section`` and keep the others, if they are of the same weights; the whole file's content is returned.

    Raises InvalidSetting if it cannot be written.
    """
    found = read(path)
    if found.get("fingerprint") != fingerprint:
        found = {}
    content = {**found, "format": FORMAT, "model": model, "fingerprint": fingerprint, section: value}
    try:
        atomic_json(path, content, ensure_ascii=False, indent=1)
    except OSError as error:
        raise unwritable("--out", path, error) from None
    return content


def read(path: Path) -> dict[str, Any]:
    """What is there; nothing where there is no such file, or it is none of ours."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(found) if isinstance(found, Mapping) and found.get("format") == FORMAT else {}

"""What was measured of a model, kept beside it: ``evals.json`` in its folder, NAME.evals.json by a file NAME.gguf.

{"format": "ownlm-evals-1", "model": ..., "fingerprint": ..., "tasks": {...}, "safety": {...}}

Sections are written one at a time; those of other weights are dropped, since they would be figures of another model.
Neither dates nor times stand in it, so that the same weights give the same file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_write

FORMAT = "ownlm-evals-1"


def results_path(model: Path) -> Path:
    """Where the figures of a model are."""
    return model / "evals.json" if model.is_dir() else model.with_suffix(".evals.json")


def check_writable(path: Path) -> None:
    """Raise InvalidSetting, before anything is measured, where ``path`` cannot be written."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidSetting("--out", str(path), "it cannot be written there: give a file in a folder of yours")


def update(path: Path, section: str, value: Any, *, model: str, fingerprint: str) -> dict[str, Any]:
    """Write ``section`` and keep the others, if they are of the same weights; the whole file's content is returned.

    Raises InvalidSetting if it cannot be written.
    """
    found = read(path)
    if found.get("fingerprint") != fingerprint:
        found = {}
    content = {**found, "format": FORMAT, "model": model, "fingerprint": fingerprint, section: value}
    try:
        with atomic_write(path) as file:
            file.write((json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise InvalidSetting("--out", str(path), f"it cannot be written ({said}): give another file") from None
    return content


def read(path: Path) -> dict[str, Any]:
    """What is there; nothing where there is no such file, or it is none of ours."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return dict(found) if isinstance(found, Mapping) and found.get("format") == FORMAT else {}

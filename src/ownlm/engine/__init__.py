"""Running models: text in, vectors or text out. Names are loaded at first use: accounting needs no NumPy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.engine.engine import Engine
    from ownlm.engine.sampling_params import SamplingParams

__all__ = ["Embedder", "Engine", "SamplingParams"]

_HOME_OF = {
    "Embedder": "ownlm.engine.embedder",
    "Engine": "ownlm.engine.engine",
    "SamplingParams": "ownlm.engine.sampling_params",
}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'ownlm.engine' has no attribute {name!r}")

"""Running models: text in, vectors out."""

from __future__ import annotations

from ownlm.engine.embedder import Embedder

__all__ = ["Embedder"]

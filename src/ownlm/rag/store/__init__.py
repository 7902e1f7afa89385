"""The document index on disk: see ``store``."""

from ownlm.rag.store.store import FILE, FileState, Store, Version

__all__ = ["FILE", "FileState", "Store", "Version"]

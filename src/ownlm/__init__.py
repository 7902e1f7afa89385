"""OwnLM: own your language model, and trust what it says about your documents.

    >>> import ownlm
    >>> with ownlm.Library.open() as library:                    # doctest: +SKIP
    ...     library.sync(["handbook"])
    ...     print(library.ask("How much is a lost fob?").answer)

Names are loaded at first use, so that ``import ownlm`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.errors import OwnLMError
    from ownlm.rag.library import Library
    from ownlm.rag.types import Answer, Citation, Claim, Document, Passage

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Citation",
    "Claim",
    "Document",
    "Embedder",
    "Library",
    "OwnLMError",
    "Passage",
    "__version__",
]

_HOME_OF = {
    "Answer": "ownlm.rag.types",
    "Citation": "ownlm.rag.types",
    "Claim": "ownlm.rag.types",
    "Document": "ownlm.rag.types",
    "Embedder": "ownlm.engine.embedder",
    "Library": "ownlm.rag.library",
    "OwnLMError": "ownlm.errors",
    "Passage": "ownlm.rag.types",
}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'ownlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

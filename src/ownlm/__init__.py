"""OwnLM: own your language model, and trust what it says about your documents.

    >>> import ownlm
    >>> with ownlm.Library.open() as library:                    # doctest: +SKIP
    ...     library.sync(["handbook"])
    ...     print(library.ask("How much is a lost fob?").answer)
    >>> with ownlm.LLM("Qwen/Qwen2.5-0.5B-Instruct") as llm:     # doctest: +SKIP
    ...     print(llm.chat([{"role": "user", "content": "Name a colour."}]))

Names are loaded at first use, so that ``import ownlm`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.engine.grammar import Grammar
    from ownlm.engine.llm import LLM
    from ownlm.errors import OwnLMError
    from ownlm.rag.library import Library
    from ownlm.rag.types import Answer, Citation, Claim, Document, Passage

__version__ = "0.1.0"

__all__ = [
    "LLM",
    "Answer",
    "Citation",
    "Claim",
    "Document",
    "Embedder",
    "Grammar",
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
    "Grammar": "ownlm.engine.grammar",
    "LLM": "ownlm.engine.llm",
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

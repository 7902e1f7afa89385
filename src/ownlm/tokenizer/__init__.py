"""Text to ids and back, streams of ids to text, spans of the text, and conversations to ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.tokenizer.chat import ChatTemplate, Rendered
    from ownlm.tokenizer.message import Message
    from ownlm.tokenizer.stream import Detokenizer
    from ownlm.tokenizer.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "Detokenizer", "Message", "Rendered", "Tokenizer"]

_HOME = {
    "ChatTemplate": "chat",
    "Detokenizer": "stream",
    "Message": "message",
    "Rendered": "chat",
    "Tokenizer": "tokenizer",
}


def __getattr__(name: str) -> Any:
    """Import lazily: the worker that renders templates imports this package, and needs none of these."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

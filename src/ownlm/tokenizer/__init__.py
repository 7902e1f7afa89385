"""Text to ids and back to spans of the text."""

from __future__ import annotations

from ownlm.tokenizer.tokenizer import Tokenizer

__all__ = ["Tokenizer"]

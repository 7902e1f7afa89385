"""Text to ids and back, streams of ids to text, and spans of the text."""

from __future__ import annotations

from ownlm.tokenizer.stream import Detokenizer
from ownlm.tokenizer.tokenizer import Tokenizer

__all__ = ["Detokenizer", "Tokenizer"]

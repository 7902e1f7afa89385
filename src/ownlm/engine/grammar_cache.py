"""A model's compiled grammars: those used last are kept, since the same schema comes with every request."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ownlm.engine.grammar import CompiledGrammar, Grammar, GrammarVocabulary
from ownlm.tokenizer import Tokenizer

KEPT = 64


class GrammarCache:
    """From any thread. The vocabulary is made when the first grammar comes."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: Iterable[int]) -> None:
        self._of = (tokenizer, vocab_size, tuple(ends))
        self._vocabulary: GrammarVocabulary | None = None
        self._kept: dict[Grammar, CompiledGrammar] = {}
        self._lock = threading.Lock()

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """The grammar for this model. Raises InvalidGrammar."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = GrammarVocabulary(*self._of)
            found = self._kept.pop(grammar, None)
        if found is None:
            found = grammar.compile(self._vocabulary)
        with self._lock:
            self._kept[grammar] = found
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
        return found

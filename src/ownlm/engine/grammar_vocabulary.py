"""A model's vocabulary as grammars see it: the bytes of each token, and which of them end a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownlm.tokenizer import Tokenizer


class GrammarVocabulary:
    """A tokenizer's bytes as the parser wants them. Takes a second for a large vocabulary: make it once a model.

    ``ends`` are the tokens that end a text; they may follow wherever the grammar is satisfied. ``size`` is the
    model's vocabulary, which may be larger than the tokenizer's; ids beyond that never follow.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, ends: Iterable[int]) -> None:
        import llguidance

        self.size = size
        self.tokenizer = tokenizer
        self._literal = tokenizer.literal(tokenizer.special_ids)
        self.ends = tuple(sorted(id_ for id_ in ends if id_ < size))
        known = min(size, tokenizer.vocab_size)
        # A model without such a token: one beyond its vocabulary stands for the end.
        inner = self.ends or (size,)
        self.tokens = [tokenizer.token_bytes(id_) if tokenizer.token(id_) else b"" for id_ in range(known)]
        self.tokens += [b""] * (size + (not self.ends) - known)
        if not self.ends:
            self.tokens[size] = b"<|the end|>"
        self.eos_token_id = inner[0]
        self.bos_token_id = None
        self.special_token_ids = sorted({id_ for id_ in tokenizer.special_ids if id_ < size} | set(inner))
        special = set(self.special_token_ids)
        plain = [(data, id_) for id_, data in enumerate(self.tokens) if data and id_ not in special]
        self._ids = dict(reversed(plain))
        self._longest = max(map(len, self._ids), default=0)
        self.is_tokenizer_wrapper = True
        self.inner = llguidance.LLTokenizer(self, n_vocab=len(self.tokens), eos_token=list(inner))  # type: ignore[arg-type]

    def __call__(self, text: str | bytes) -> list[int]:
        """The parser's way to spell, in the midst of a text, what must follow."""
        data = text.encode() if isinstance(text, str) else text
        for before in ("", "\n"):  # some tokenizers put a space before any beginning
            spelled, offsets = self._literal.encode_with_offsets(
                before + data.decode("utf-8", "replace"), continued=True
            )
            ids = [id_ for id_, (start, _) in zip(spelled, offsets, strict=True) if start >= len(before)]
            if b"".join(self.tokens[id_] for id_ in ids) == data:
                return ids
        return self._spelled_greedily(data)

    def _spelled_greedily(self, data: bytes) -> list[int]:
        """By the longest token each; what no token begins is left out, as the parser's own way does."""
        found: list[int] = []
        while data:
            size = next((n for n in range(min(len(data), self._longest), 0, -1) if data[:n] in self._ids), 0)
            if size:
                found.append(self._ids[data[:size]])
            data = data[size or 1 :]
        return found

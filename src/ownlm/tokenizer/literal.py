"""The same tokenizer with some of its tokens out of reach: text that spells one becomes ordinary tokens.

A model's control tokens steer it; text from users, files and tools must not be able to write them. Such a token is
taken from the added tokens and renamed in the vocabulary to something that no text can spell, because it is random.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from typing import Any


class Literal:
    """``tokenizer`` is a ``tokenizers.Tokenizer``; ``hidden`` are the ids no text may become."""

    def __init__(self, tokenizer: Any, hidden: Collection[int]) -> None:
        import tokenizers

        names = {tokenizer.id_to_token(id_): id_ for id_ in hidden}
        definition = json.loads(tokenizer.to_str())
        _hide(definition, names)
        self.hidden = frozenset(hidden)
        self._tokenizer: Any = tokenizers.Tokenizer.from_str(json.dumps(definition, ensure_ascii=False))
        # Text after an added token is treated differently from text at the start (no prefix, say): an anchor is one.
        self._anchor = f"\U0010ffff{secrets.token_hex(16)}\U0010ffff"
        self._tokenizer.add_special_tokens([tokenizers.AddedToken(self._anchor, normalized=False)])

    @property
    def backend(self) -> Any:
        """The ``tokenizers.Tokenizer`` inside, to be read and not changed."""
        return self._tokenizer

    def encode(self, text: str, *, continued: bool = False) -> list[int]:
        """The ids of the text. ``continued``: it stands after a control token, not at the start."""
        return self.encode_with_offsets(text, continued=continued)[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without spans: the fast way for much text."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str, *, continued: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text and the span of each."""
        skipped, tokens = (len(self._anchor), 1) if continued else (0, 0)
        encoding = self._tokenizer.encode(self._anchor * tokens + text, add_special_tokens=False)
        spans = [(max(start - skipped, 0), max(end - skipped, 0)) for start, end in encoding.offsets[tokens:]]
        return encoding.ids[tokens:], spans


def _hide(definition: dict[str, Any], names: dict[str, int]) -> None:
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] not in names]
    definition["post_processor"] = None
    model = definition["model"]
    secret = {name: f"\U0010ffff{secrets.token_hex(16)}" for name in names}
    if model.get("unk_token") in secret:
        model["unk_token"] = secret[model["unk_token"]]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {secret.get(token, token): id_ for token, id_ in vocabulary.items()}
    elif isinstance(vocabulary, list):
        model["vocab"] = [[secret.get(token, token), score] for token, score in vocabulary]
    if "merges" in model:
        pairs = [tuple(rule.split(" ", 1)) if isinstance(rule, str) else tuple(rule) for rule in model["merges"]]
        model["merges"] = [pair for pair in pairs if not secret.keys() & {*pair, "".join(pair)}]

"""A model's tokenizer: ``tokenizer.json`` run by the ``tokenizers`` library.

Nothing is padded, and nothing is cut unless ``max_length`` asks for it, whatever the file's own settings say.
Spans are half-open ranges of characters of the text as given. All methods may be called from several threads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, InvalidSetting, NotFound

_SURROGATE = re.compile("[\ud800-\udfff]")
_PIECE = 1 << 16  # characters; a long text is read in pieces, so that memory stays bounded
_SPACE = re.compile(r"\s")


class Tokenizer:
    """Encodes text. ``sha256`` identifies the file, ``vocab_size`` is one above the highest id."""

    def __init__(self, definition: bytes) -> None:
        import tokenizers

        self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(definition)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.sha256 = hashlib.sha256(definition).hexdigest()
        self.vocab_size: int = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.special_tokens: int = self._tokenizer.num_special_tokens_to_add(False)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read ``tokenizer.json`` of a model folder. Raises NotFound or CorruptModel."""
        path = folder / "tokenizer.json"
        try:
            tokenizer = cls(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} is not there: give a model folder with a tokenizer.json") from None
        except Exception as error:  # the library raises no narrower type
            raise CorruptModel(f"{path} is not a valid tokenizer ({error}): get the file again") from None
        if tokenizer.vocab_size == 0:
            raise CorruptModel(f"{path} has an empty vocabulary: get the file again")
        return tokenizer

    def encode_batch(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """The ids of each text with the model's special tokens.

        ``max_length`` cuts the text, not the special tokens around it, to at most so many in all.
        """
        if max_length is not None and max_length <= self.special_tokens:
            raise InvalidSetting("max_length", max_length, f"give more than the {self.special_tokens} special tokens")
        ids: list[list[int]] = [encoding.ids for encoding in self._encode(list(texts), True)]
        if max_length is not None:
            for index, found in enumerate(ids):
                if len(found) > max_length:
                    ids[index] = self._truncated(texts[index], max_length)
        return ids

    def encode_batch_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """The ids of each text as ``encode_batch`` gives them, and each one's span (of no width for special tokens)."""
        return [(encoding.ids, encoding.offsets) for encoding in self._encode(list(texts), True)]

    def count(self, text: str) -> int:
        """How many tokens the text itself takes, without special ones."""
        return sum(len(encoding) for _, encoding in self._pieces(text))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The span of each token of the text, without special ones, in order."""
        return [
            (start + left, start + right) for start, encoding in self._pieces(text) for left, right in encoding.offsets
        ]

    def _truncated(self, text: str, max_length: int) -> list[int]:
        (encoding,) = self._encode([text], False)
        encoding.truncate(max_length - self.special_tokens)
        ids: list[int] = self._tokenizer.post_process(encoding).ids
        return ids

    def _encode(self, texts: list[str], special: bool) -> list[Any]:
        try:
            found: list[Any] = self._tokenizer.encode_batch(texts, add_special_tokens=special)
        except TypeError:
            # Half of a surrogate pair is no character: read as U+FFFD, one for one, so spans stay true.
            clean = [_SURROGATE.sub("\ufffd", text) for text in texts]
            found = self._tokenizer.encode_batch(clean, add_special_tokens=special)
        return found

    def _pieces(self, text: str) -> Iterator[tuple[int, Any]]:
        """(start, encoding) of pieces of the text, cut at white space, where no token of these models spans."""
        start = 0
        while start < len(text):
            end = start + _PIECE
            if end < len(text):
                space = _SPACE.search(text, end, end + _PIECE)
                end = space.start() if space else end
            yield start, self._encode([text[start:end]], False)[0]
            start = end

"""A model's tokenizer: ``tokenizer.json``, ``tokenizer.model`` or a GGUF's vocabulary, run by ``tokenizers``.

Nothing is padded, and nothing is cut unless ``max_length`` asks for it, whatever the file's own settings say.
Spans are half-open ranges of characters of the text as given. All methods may be called from several threads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting
from ownlm.tokenizer import load
from ownlm.tokenizer.fim import Fim, find_fim
from ownlm.tokenizer.literal import Literal
from ownlm.tokenizer.pieces import Rule
from ownlm.tokenizer.special import ENDS_OF_TURN, Special
from ownlm.tokenizer.stream import Detokenizer

_SURROGATE = re.compile("[\ud800-\udfff]")
_PIECE = 1 << 16  # characters; a long text is read in pieces, so that memory stays bounded
_SPACE = re.compile(r"\s")


class Tokenizer:
    """Encodes and decodes text.

    ``sha256`` identifies the file, ``vocab_size`` is one above the highest id, ``special`` is what the model's
    files say of special tokens. ``bos_id`` and ``eos_id`` may be None; ``eos_ids`` are all the ids that end a text.
    ``special_ids`` are the tokens that steer the model, ``added_ids`` these and the other added tokens.
    """

    def __init__(self, definition: bytes, special: Special | None = None, source: bytes | None = None) -> None:
        self.special = special or Special()
        made = load.Built.of(definition, self.special, source)
        self._tokenizer: Any = made.tokenizer
        self.sha256 = made.sha256
        self.vocab_size = made.vocab_size
        self.added_ids = made.added_ids
        self.special_ids = made.special_ids
        self.special_tokens: int = self._tokenizer.num_special_tokens_to_add(False)
        self.bos_id = self._named("bos_token")
        self.eos_id = self._named("eos_token")
        self.eos_ids = self._ends()
        self._rule: Rule | None = None
        self._bytes: dict[int, bytes] = {}
        self._literal: dict[frozenset[int], Literal] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Read a model folder, or one ``tokenizer.json`` or ``tokenizer.model``. Raises NotFound, CorruptModel or
        UnsupportedModel."""
        return load.guarded(lambda found: cls(found.definition, found.special, found.source), load.find(Path(path)))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """The vocabulary in a GGUF's metadata (keys ``tokenizer.ggml.*``). Raises CorruptModel or UnsupportedModel."""
        return load.guarded(lambda found: cls(found.definition, found.special, found.source), load.of_gguf(metadata))

    @property
    def backend(self) -> Any:
        """The ``tokenizers.Tokenizer`` inside, to be read and not changed."""
        return self._tokenizer

    def token(self, id_: int) -> str | None:
        """The token as the vocabulary spells it; None if there is none of that id."""
        if id_ < 0:
            return None
        found: str | None = self._tokenizer.id_to_token(id_)
        return found

    def id_of(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    @property
    def rule(self) -> Rule:
        """How tokens become text. Raises UnsupportedModel for a decoder of an unknown kind."""
        if self._rule is None:
            self._rule = load.decoding_rule(self._tokenizer)
        return self._rule

    def token_bytes(self, id_: int) -> bytes:
        """The bytes that the token stands for inside a text; empty beyond the vocabulary."""
        found = self._bytes.get(id_)
        if found is None:
            token = self.token(id_)
            found = b"" if token is None else self.rule.token_bytes(token)
            self._bytes[id_] = found
        return found

    @property
    def fim(self) -> Fim | None:
        """The model's fill-in-the-middle tokens, if it has them."""
        return find_fim(self.id_of, self.special.fim)

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """The ids of a text. ``add_special``: with BOS and EOS as the model wants them.

        ``parse_special``: text that spells a special token is that token; without, it is ordinary text.
        """
        if parse_special:
            ids: list[int] = self._encode([text], add_special)[0].ids
            return ids
        encoded = self.literal(self.special_ids).encode(_SURROGATE.sub("\ufffd", text))
        return self._around(encoded) if add_special else encoded

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text without special tokens around it, and the span of each."""
        (encoding,) = self._encode([text], False)
        return encoding.ids, encoding.offsets

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of the ids. Bytes that are no character are U+FFFD; ids beyond the vocabulary are nothing."""
        stream = Detokenizer(self, skip_special=skip_special)
        return stream.extend(ids) + stream.finish()

    def literal(self, hidden: frozenset[int]) -> Literal:
        """This tokenizer with these tokens out of text's reach. Made at first use: it takes memory for a second one."""
        with self._lock:
            if hidden not in self._literal:
                self._literal[hidden] = Literal(self._tokenizer, hidden)
            return self._literal[hidden]

    def _around(self, ids: list[int]) -> list[int]:
        """The ids with the special tokens that the model wants around a text."""
        empty = self._tokenizer.encode("", add_special_tokens=True).ids
        probe = self._tokenizer.encode("a", add_special_tokens=True)
        before = next((i for i, mark in enumerate(probe.special_tokens_mask) if not mark), len(empty))
        return [*empty[:before], *ids, *empty[before:]]

    def _named(self, name: str) -> int | None:
        text = self.special.names.get(name)
        return None if text is None else self.id_of(text)

    def _ends(self) -> frozenset[int]:
        ends = {id_ for id_ in self.special.eos_ids if id_ < self.vocab_size}
        if self.eos_id is not None:
            ends.add(self.eos_id)
        known = {id_ for text in ENDS_OF_TURN if (id_ := self.id_of(text)) in self.special_ids and id_ is not None}
        if {self.id_of("<|return|>"), self.id_of("<|call|>")} <= known:
            known.discard(self.id_of("<|end|>") or -1)  # gpt-oss: one message of several ends
        return frozenset(ends | known)

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

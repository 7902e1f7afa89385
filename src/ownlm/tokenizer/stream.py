"""Ids to text, one at a time: the pieces together are exactly ``decode`` of all ids, and no piece breaks a character.

A byte that may begin a character is kept until the character is whole; bytes that can be none become U+FFFD. Each
token costs the same, however long the text is: nothing is decoded twice.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownlm.tokenizer.tokenizer import Tokenizer


class Detokenizer:
    """Push ids, take text. ``decode`` itself is one of these that is given all ids at once.

    ``begun``: the ids go on from a text, so that what a model's decoder does to the first token is not done.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = False, begun: bool = False) -> None:
        self._tokenizer = tokenizer
        self._rule = tokenizer.rule
        self._skipped = tokenizer.special_ids if skip_special else frozenset()
        self._begun = begun  # the first token has been seen
        self._strip = self._rule.first == "one" and not begun  # a leading space is still to be dropped
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")  # byte-level: of the whole text
        self._run = b""  # byte fallback: the start of a character

    def push(self, id_: int) -> str:
        """The text that the token completes, maybe none."""
        if id_ in self._skipped:
            return ""
        token = self._tokenizer.token(id_)
        if token is None:
            return ""  # an id beyond the vocabulary, of a padded embedding table
        if self._rule.kind == "bytes":
            return self._bytes.decode(self._tokenizer.token_bytes(id_))
        data = self._tokenizer.token_bytes(id_) if self._begun else self._rule.first_bytes(token)
        self._begun = True
        if self._rule.is_part(token):
            return self._lead(self._continue(data))
        return self._lead(self._end_of_run() + data.decode())

    def extend(self, ids: Iterable[int]) -> str:
        return "".join([self.push(id_) for id_ in ids])

    def finish(self) -> str:
        """What was kept: a character that never became whole is U+FFFD."""
        if self._rule.kind == "bytes":
            return self._bytes.decode(b"", final=True)
        return self._lead(self._end_of_run())

    def _lead(self, text: str) -> str:
        if self._strip and text:
            self._strip = False
            return text.removeprefix(" ")
        return text

    def _continue(self, data: bytes) -> str:
        """Characters that a further byte completes; one U+FFFD for each byte that cannot begin any."""
        self._run += data
        text = ""
        while self._run:
            size = _size(self._run[0])
            if size and len(self._run) < size and _may_go_on(self._run):
                break
            try:
                text += self._run[:size].decode() if size else "\ufffd"
                self._run = self._run[max(size, 1) :]
            except UnicodeDecodeError:
                text += "\ufffd"
                self._run = self._run[1:]
        return text

    def _end_of_run(self) -> str:
        text = "\ufffd" * len(self._run)
        self._run = b""
        return text


def _size(lead: int) -> int:
    """Bytes of the character that a byte begins, 0 if none."""
    if lead < 0x80:
        return 1
    if 0xC2 <= lead < 0xE0:
        return 2
    if 0xE0 <= lead < 0xF0:
        return 3
    return 4 if 0xF0 <= lead < 0xF5 else 0


def _may_go_on(start: bytes) -> bool:
    """Whether some bytes would make the start of a character whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        decoder.decode(start)
    except UnicodeDecodeError:
        return False
    return True

"""SentencePiece's ``tokenizer.model``: what it says, without its library.

Source: ``sentencepiece_model.proto`` of https://github.com/google/sentencepiece (field numbers in the code).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.tokenizer import wire

MAX_PIECES = 4_000_000


class Kind(IntEnum):
    """What a piece is. GGUF's ``tokenizer.ggml.token_type`` uses the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(slots=True)
class Vocabulary:
    """Pieces by id, and how text becomes them. ``algorithm`` is "unigram" or "bpe"."""

    pieces: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    algorithm: str = "unigram"
    byte_fallback: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    whitespace_as_suffix: bool = False

    def check(self, name: str) -> None:
        """Raise CorruptModel or UnsupportedModel if no tokenizer can be made of it."""
        if not self.pieces:
            raise CorruptModel(f"{name} has no vocabulary: get the file again")
        if len(set(self.pieces)) != len(self.pieces) or "" in self.pieces:
            raise CorruptModel(f"{name} has a piece twice, or an empty one: get the file again")
        if not len(self.pieces) == len(self.scores) == len(self.kinds):
            raise CorruptModel(f"{name} has {len(self.pieces)} pieces and {len(self.scores)} scores: get it again")
        if not all(math.isfinite(score) for score in self.scores):
            raise CorruptModel(f"{name} has a score that is no number: get the file again")
        if not 0 <= self.unk_id < len(self.pieces):
            raise CorruptModel(f"{name} has no unknown piece (id {self.unk_id}): get the file again")
        if self.whitespace_as_suffix:
            raise UnsupportedModel(f"{name} writes white space as a suffix: only prefixes are supported")


def parse(data: bytes, name: str) -> Vocabulary:
    """The vocabulary in a ``tokenizer.model``. Raises CorruptModel or UnsupportedModel."""
    found = Vocabulary()
    try:
        for number, _, value in wire.fields(memoryview(data)):
            if number == 1:
                _piece(found, wire.blob(value))
            elif number == 2:
                _trainer(found, wire.blob(value))
            elif number == 3:
                _normalizer(found, wire.blob(value))
            if len(found.pieces) > MAX_PIECES:
                raise wire.Malformed(f"more than {MAX_PIECES} pieces")
    except (wire.Malformed, UnicodeDecodeError) as error:
        raise CorruptModel(f"{name} is not a SentencePiece model ({error}): get the file again") from None
    found.check(name)
    return found


def _piece(found: Vocabulary, message: bytes) -> None:
    piece, score, kind = "", 0.0, int(Kind.NORMAL)
    for number, _, value in wire.fields(memoryview(message)):
        if number == 1:
            piece = wire.text(value)
        elif number == 2:
            score = wire.number(value)
        elif number == 3:
            kind = wire.integer(value)
    found.pieces.append(piece)
    found.scores.append(score)
    found.kinds.append(kind)


def _trainer(found: Vocabulary, message: bytes) -> None:
    names = {40: "unk_id", 41: "bos_id", 42: "eos_id", 43: "pad_id"}
    for number, _, value in wire.fields(memoryview(message)):
        if number == 3:
            algorithm = wire.integer(value)
            if algorithm not in (1, 2):
                raise UnsupportedModel(f"SentencePiece model type {algorithm}: unigram and BPE are supported")
            found.algorithm = "unigram" if algorithm == 1 else "bpe"
        elif number == 24:
            found.whitespace_as_suffix = bool(wire.integer(value))
        elif number == 35:
            found.byte_fallback = bool(wire.integer(value))
        elif number in names:
            setattr(found, names[number], wire.integer(value))


def _normalizer(found: Vocabulary, message: bytes) -> None:
    flags = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}
    for number, _, value in wire.fields(memoryview(message)):
        if number == 2:
            found.charsmap = wire.blob(value)
        elif number in flags:
            setattr(found, flags[number], bool(wire.integer(value)))

"""The bytes of a token, and how a run of tokens becomes text: the file's ``decoder``, read once.

Each rule gives, for a token, its bytes and whether they may only be shown together with their neighbours' (a part of
a character). ``Rule.first`` says what happens to the first token's leading space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from ownlm.errors import UnsupportedModel

Json = dict[str, Any]
First = Literal["", "one", "all", "join"]
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_characters() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: the character of each byte.

    >>> byte_characters()["\u0120"]
    32
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


_CHARACTERS = byte_characters()


@dataclass(frozen=True, slots=True)
class Rule:
    """How tokens of one file become text.

    ``kind``: "bytes" (byte-level), "spaces" (U+2581 for a space), "words" (WordPiece), "plain".
    ``fallback``: ``<0xNN>`` is that byte. ``first``: of the text's first token, drop "one" leading space or "all"
    its U+2581, or "join" all tokens with spaces but before it. ``glue``: WordPiece's mark of a continued word.
    """

    kind: Literal["bytes", "spaces", "words", "plain"]
    space: str = "\u2581"
    fallback: bool = False
    first: First = ""
    glue: str = "##"
    cleanup: bool = False

    def token_bytes(self, token: str) -> bytes:
        """What the token stands for, inside a text."""
        if self.kind == "bytes":
            try:
                return bytes([_CHARACTERS[character] for character in token])
            except KeyError:  # an added token, written as it is
                return token.encode()
        if self.fallback and (found := _BYTE.fullmatch(token)):
            return bytes([int(found[1], 16)])
        if self.kind == "spaces":
            return token.replace(self.space, " ").encode()
        if self.kind == "words":
            joined = token[len(self.glue) :] if token.startswith(self.glue) else f" {token}"
            return (_clean(joined) if self.cleanup else joined).encode()
        return f" {token}".encode() if self.first == "join" else token.encode()

    def first_bytes(self, token: str) -> bytes:
        """What it stands for as the first token of a text ("one" is left to the caller: it may be a later token)."""
        if self.kind == "spaces" and self.first == "all":
            return token.replace(self.space, "").encode()
        if self.kind == "words":
            return (_clean(token) if self.cleanup else token).encode()
        return token.encode() if self.first == "join" else self.token_bytes(token)

    def is_part(self, token: str) -> bool:
        """Whether the token is a byte, to be read together with its neighbours."""
        return self.fallback and _BYTE.fullmatch(token) is not None


def rule(decoder: Json | None) -> Rule:
    """The rule of a definition's ``decoder``. Raises UnsupportedModel."""
    if decoder is None:
        return Rule("plain", first="join")
    match decoder:
        case {"type": "ByteLevel"}:
            return Rule("bytes")
        case {"type": "WordPiece"}:
            return Rule("words", glue=decoder.get("prefix", "##"), cleanup=decoder.get("cleanup", True))
        case {"type": "Metaspace"}:
            return Rule("spaces", decoder["replacement"], first="" if _never(decoder) else "all")
        case {"type": "Fuse"}:
            return Rule("plain")
        case {"type": "Sequence", "decoders": [dict(single)]}:
            return rule(single)
        case {"type": "Sequence", "decoders": list(steps)}:
            return _sequence(steps)
    raise UnsupportedModel(f"tokenizer with a decoder of type {decoder.get('type')!r}: it is not supported")


def _sequence(steps: list[Json]) -> Rule:
    space, fallback, first = "", False, ""
    for step in steps:
        match step:
            case {"type": "Replace", "pattern": {"String": str(found)}, "content": " "} if not space:
                space = found
            case {"type": "ByteFallback"}:
                fallback = True
            case {"type": "Fuse"}:
                pass
            case {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
                first = "one"
            case {"type": "Metaspace"}:
                space, first = step["replacement"], "" if _never(step) else "all"
            case _:
                raise UnsupportedModel(f"tokenizer with a decoder step {step}: it is not supported")
    return Rule("spaces", space or "\u2581", fallback, first) if space else Rule("plain", fallback=fallback)  # type: ignore[arg-type]


def _never(metaspace: Json) -> bool:
    scheme: str = metaspace.get("prepend_scheme", "always")
    return scheme == "never" or metaspace.get("add_prefix_space") is False


def _clean(word: str) -> str:
    """English spacing, one token at a time, as BERT's decoder has it."""
    for found, instead in (
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ):  # fmt: skip
        word = word.replace(found, instead)
    return word

"""Marks around what is not the template's own: control tokens that a message spells, and the assistant's words.

A control token that a user's text spells must stay text. Before rendering, each one found in a message is put between
two characters that occur nowhere else; after rendering they are taken out, and say which spans are whose. A message
that spells none is handed to the template untouched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ownlm.errors import InvalidSetting

MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
Span = tuple[int, int]


class Scanner:
    """Finds added tokens in text exactly as the tokenizer would: it is one, without a vocabulary of its own."""

    def __init__(self, tokenizer: Any, ids: Collection[int]) -> None:
        import tokenizers

        # Nothing cuts a text into words here: a cache of words would keep whole messages, up to 10,000 of them.
        self._tokenizer: Any = tokenizers.Tokenizer(tokenizers.models.BPE(cache_capacity=0))
        if tokenizer.normalizer is not None:
            self._tokenizer.normalizer = tokenizer.normalizer
        added = tokenizer.get_added_tokens_decoder()
        self._tokenizer.add_tokens([added[id_] for id_ in ids if id_ in added])

    def find(self, text: str) -> list[Span]:
        """The spans of the text that spell one of the tokens, in order."""
        return [(start, end) for start, end in self._tokenizer.encode(text).offsets if end > start]


@dataclass(slots=True)
class Marked:
    """A rendered text without its marks, and what they said."""

    text: str
    spelled: list[Span] = field(default_factory=list)  # control tokens that messages spell
    spoken: list[Span] = field(default_factory=list)  # {% generation %} blocks


class Marks:
    """Four characters that occur in none of the inputs."""

    def __init__(self, *inputs: object) -> None:
        used = {character for text in strings(list(inputs)) for character in set(text) if character > "\U000fffff"}
        free = (chr(code) for code in range(0x100000, 0x10FFFE) if chr(code) not in used)
        try:
            self.spelled = (next(free), next(free))
            self.spoken = (next(free), next(free))
        except StopIteration:
            raise InvalidSetting("messages", "...", "they use every private character of Unicode") from None
        self._all = re.compile("[" + "".join(self.spelled + self.spoken) + "]")

    def put(self, text: str, spans: Sequence[Span]) -> str:
        """The text with each span between marks."""
        parts, last = [], 0
        for start, end in spans:
            parts += [text[last:start], self.spelled[0], text[start:end], self.spelled[1]]
            last = end
        return "".join([*parts, text[last:]])

    def take(self, rendered: str) -> Marked:
        """The text without marks. One that lost its partner in the template says nothing."""
        found = Marked("")
        parts: list[str] = []
        begun: dict[str, int] = {}
        position = last = 0
        for mark in self._all.finditer(rendered):
            parts.append(rendered[last : mark.start()])
            position += mark.start() - last
            last = mark.end()
            for pair, spans in ((self.spelled, found.spelled), (self.spoken, found.spoken)):
                if mark[0] == pair[0]:
                    begun[pair[0]] = position
                elif mark[0] == pair[1] and pair[0] in begun:
                    spans.append((begun.pop(pair[0]), position))
        found.text = "".join([*parts, rendered[last:]])
        return found


def strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a JSON value, keys too. Raises InvalidSetting for what is no JSON."""
    if depth > MAX_DEPTH:
        raise InvalidSetting("messages", "...", f"nest values at most {MAX_DEPTH} deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(key, depth + 1)
            yield from strings(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item, depth + 1)
    elif not (value is None or isinstance(value, bool | int | float)):
        raise InvalidSetting("messages", value, "give plain JSON values")


def map_strings(value: Any, change: Any) -> Any:
    """The JSON value with each text in it changed; lone halves of surrogate pairs become U+FFFD first."""
    if isinstance(value, str):
        return change(_SURROGATE.sub("\ufffd", value))
    if isinstance(value, Mapping):
        return {map_strings(key, change): map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_strings(item, change) for item in value]
    return value


def spans_of_parts(scanner: Scanner, texts: Sequence[str]) -> list[list[Span]]:
    """The spans in each text of what they spell, alone or together: a token may be cut in two by its sender."""
    whole = "".join(texts)
    found: list[list[Span]] = []
    start = 0
    tokens = scanner.find(whole)
    for text in texts:
        end = start + len(text)
        inside = [(max(a, start) - start, min(b, end) - start) for a, b in tokens if a < end and b > start]
        found.append(inside)
        start = end
    return found

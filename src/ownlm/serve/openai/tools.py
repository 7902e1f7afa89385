"""Tool calls: the grammar that they are written under, and the reader that follows the same fixed texts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ownlm.engine.grammar import Grammar
from ownlm.serve.openai.spelling import Spelling, atoms

Choice = Literal["auto", "required"]
Schema = dict[str, Any]
NO_ARGUMENTS: Schema = {"type": "object", "properties": {}, "additionalProperties": False}


def rules(
    spelling: Spelling,
    tools: Sequence[tuple[str, Schema | None]],
    choice: Choice,
    *,
    parallel: bool = True,
    answer: Schema | bool | None = None,
    special: Mapping[str, int] | None = None,
    not_first: str = "",
) -> str:
    """Lark, without ``start``: its rule ``message`` is the whole answer. ``tools`` are names with schemas.

    ``answer``: a schema that an answer without calls must meet. ``special``: the model's special tokens by their text.
    ``not_first``: a text that an answer does not begin with, because something else does.
    """
    special = special or {}
    found, calls = [], []
    for index, (name, schema) in enumerate(tools):
        wanted = Grammar.json_schema({"type": "object", **schema} if schema else NO_ARGUMENTS, compact=True)
        opening, close = atoms(spelling.opening(name), special), atoms(spelling.close, special)
        found.append(f"call{index}: {opening} arguments{index} {close}")
        found.append(f"arguments{index}: {wanted.lark_rule()}")
        calls.append(f"call{index}")
    found.append(f"call: {' | '.join(calls)}")
    more = f"({atoms(spelling.between, special)} call)*" if parallel and spelling.between is not None else ""
    found.append(f"calls: {atoms(spelling.before, special)} call {more} {atoms(spelling.end, special)}")
    mark = atoms(spelling.mark, special)
    if choice == "required":
        return "\n".join([f"message: {mark} calls", *found])
    if answer is not None:
        found.append(f"answer: {Grammar.json_schema(answer).lark_rule()}")
        return "\n".join([f"message: {mark} calls | answer", *found])
    without = f" & ~/{not_first}(?s:.*)/" if not_first else ""
    if not mark:
        return "\n".join(["message: TEXT? | calls", rf"TEXT: /[^{{\s](?s:.*)/{without}", *found])
    found.append(f"TEXT: /(?s:.+)/{without}")
    if spelling.mark in special:
        return "\n".join([f"message: TEXT? | TEXT? {mark} calls", *found])
    # Lazy: the mark ends the text as soon as it is there.
    found += [f"said[suffix={mark}]: SAID", f"SAID: /(?s:.*)/{without}"]
    return "\n".join(["message: TEXT? | said calls", *found])


@dataclass(slots=True)
class Call:
    """A call as far as it has come."""

    id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What a piece of an answer brought: one of these. ``arguments`` are of the call of this ``index``; ``call``: one
    that begins."""

    text: str = ""
    reasoning: str = ""
    index: int = -1
    arguments: str = ""
    call: Call | None = None


class Reader:
    """Reads an answer written under ``rules``, piece by piece."""

    def __init__(self, spelling: Spelling, names: Sequence[str], choice: Choice) -> None:
        self.calls: list[Call] = []
        self._spelling = spelling
        self._openings = {spelling.opening(name): name for name in names}
        self._held = ""
        self._arguments: JsonEnd | None = None
        self._step = self._text if choice == "auto" else self._begin

    def push(self, piece: str, *, last: bool = False) -> list[Part]:
        """The parts that a piece completes; ``last``: no more comes."""
        self._held += piece
        parts: list[Part] = []
        while self._held and self._step(parts):
            pass
        if last and self._held and not self.calls and self._step == self._text:
            parts.append(Part(text=self._held))
            self._held = ""
        return parts

    # Each step takes something off what is held, and says whether another may go on.

    def _text(self, parts: list[Part]) -> bool:
        mark = self._spelling.mark
        if not mark:  # calls stand instead of a text
            if any(_agree(opening, self._held) for opening in self._openings):
                self._step = self._opening
                return True
            self._step = self._rest
            return True
        at = self._held.find(mark)
        size = _beginning(self._held, mark) if at < 0 else 0
        end = len(self._held) - size if at < 0 else at
        if end:
            parts.append(Part(text=self._held[:end]))
        self._held = self._held[end:]
        if at >= 0:
            self._step = self._begin
        return at >= 0

    def _rest(self, parts: list[Part]) -> bool:
        parts.append(Part(text=self._held))
        self._held = ""
        return False

    def _begin(self, parts: list[Part]) -> bool:
        return self._skip(self._spelling.begin, self._opening)

    def _opening(self, parts: list[Part]) -> bool:
        for opening, name in self._openings.items():
            if self._held.startswith(opening):
                self._held = self._held[len(opening) :]
                self.calls.append(Call(f"call_{secrets.token_hex(12)}", name))
                parts.append(Part(index=len(self.calls) - 1, call=self.calls[-1]))
                self._arguments, self._step = JsonEnd(), self._inside
                return True
        if not self.calls and not self._spelling.mark and not any(_agree(o, self._held) for o in self._openings):
            self._step = self._rest
            return True
        return False

    def _inside(self, parts: list[Part]) -> bool:
        assert self._arguments is not None
        taken, done = self._arguments.push(self._held)
        self.calls[-1].arguments += self._held[:taken]
        parts.append(Part(index=len(self.calls) - 1, arguments=self._held[:taken]))
        self._held = self._held[taken:]
        if done:
            self._step = self._after
        return done

    def _after(self, parts: list[Part]) -> bool:
        return self._skip(self._spelling.close + (self._spelling.between or ""), self._opening)

    def _skip(self, text: str, then: Any) -> bool:
        if not self._held.startswith(text):
            return False
        self._held = self._held[len(text) :]
        self._step = then
        return True


class JsonEnd:
    """Finds where a JSON object ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, text: str) -> tuple[int, bool]:
        """How many characters belong to the object, and whether it ends with them."""
        for place, character in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return place + 1, True
        return len(text), False


def _agree(opening: str, held: str) -> bool:
    """Whether what is held is the opening, or its beginning."""
    return opening.startswith(held) or held.startswith(opening)


def _beginning(text: str, mark: str) -> int:
    """How many of the last characters may begin the mark."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)

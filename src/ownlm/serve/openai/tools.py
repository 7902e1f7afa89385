"""Tool calls, written under a grammar and read back by the rules that made it.

Models are taught one of two spellings; the chat template says which:

    <tool_call>                                          Qwen, Hermes, SmolLM3 and others: after a text, several
    {"name": "weather", "arguments": {"city": "Rome"}}
    </tool_call>
    {"name": "weather", "parameters": {"city": "Rome"}}  Llama 3.x and others: instead of a text, one
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ownlm.engine.json_schema import checked

Choice = Literal["auto", "required"]
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Spelling:
    """``open`` + ``{"name": "`` NAME ``", "`` + ``arguments`` + ``": `` ARGUMENTS ``}`` + ``close``."""

    open: str
    close: str
    arguments: str

    def before(self, name: str) -> str:
        """What stands before a call's arguments."""
        return f'{self.open}{{"name": {json.dumps(name)}, "{self.arguments}": '

    @property
    def after(self) -> str:
        """What stands behind them."""
        return "}" + self.close


TAGGED = Spelling("<tool_call>\n", "\n</tool_call>", "arguments")
PLAIN = Spelling("", "", "parameters")


def spelling_of(template: str) -> Spelling:
    """What the template's own examples look like."""
    return TAGGED if "<tool_call>" in template else PLAIN


def grammar(
    spelling: Spelling,
    tools: Sequence[tuple[str, dict[str, Any] | None]],
    choice: Choice,
    *,
    parallel: bool,
    answer: dict[str, Any] | bool | None = None,
) -> str:
    """Lark. ``tools`` are names with schemas; ``answer``: a schema that an answer without calls must meet (auto)."""
    rules, calls = [], []
    for index, (name, schema) in enumerate(tools):
        wanted = checked({**NO_ARGUMENTS} if not schema else {"type": "object", **schema})
        rules.append(f"call{index}: {json.dumps(spelling.before(name))} args{index} {json.dumps(spelling.after)}")
        rules.append(f"args{index}: %json {json.dumps(wanted)}")
        calls.append(f"call{index}")
    several = parallel and bool(spelling.open)
    rules.append(f"call: {' | '.join(calls)}")
    rules.append('calls: call ("\\n" call)*' if several else "calls: call")
    if choice == "required":
        return "\n".join(["start: calls", *rules])
    if answer is not None:
        return "\n".join(["start: calls | answer", f"answer: %json {json.dumps(checked(answer))}", *rules])
    if spelling.open:
        mark = spelling.open.strip()
        rules.append(f"TEXT: /(?s:.+)/ & ~/(?s:.*){mark}(?s:.*)/")
        return "\n".join(["start: TEXT? calls | TEXT", *rules])
    rules.append(r"TEXT: /[^{](?s:.*)/")
    return "\n".join(["start: calls | TEXT", *rules])


@dataclass(slots=True)
class Call:
    """A call as far as it has come."""

    id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What a piece of text brought: ``text``, or ``arguments`` of the call of this ``index`` (empty: it begins)."""

    text: str = ""
    index: int = -1
    arguments: str = ""


class Reader:
    """Reads an answer written under ``grammar``, piece by piece. It follows the grammar's fixed parts literally."""

    def __init__(self, spelling: Spelling, names: Sequence[str], choice: Choice) -> None:
        self.calls: list[Call] = []
        self._spelling = spelling
        self._openings = {spelling.before(name): name for name in names}
        self._text_may_come = choice == "auto"
        self._held = ""
        self._json: _JsonEnd | None = None
        self._skip = ""

    def push(self, piece: str, *, last: bool = False) -> list[Part]:
        """The parts that a piece completes; ``last``: no more comes."""
        self._held += piece
        parts: list[Part] = []
        while self._held and (self._step(parts) or self._skip):
            if not self._held:
                break
        if last and self._held and self._json is None and not self.calls:
            parts.append(Part(text=self._held))
            self._held = ""
        return parts

    def _step(self, parts: list[Part]) -> bool:
        """Take something off what is held; False if more must come first."""
        if self._skip:
            return self._skipped()
        if self._json is not None:
            taken, done = self._json.push(self._held)
            self.calls[-1].arguments += self._held[:taken]
            if taken:
                parts.append(Part(index=len(self.calls) - 1, arguments=self._held[:taken]))
            self._held = self._held[taken:]
            if done:
                self._json, self._skip = None, self._spelling.after
            return bool(taken) or done
        if self.calls and self._held.startswith("\n"):
            self._held = self._held[1:]
            return True
        for opening, name in self._openings.items():
            if self._held.startswith(opening):
                self._begin(opening, name, parts)
                return True
        if any(opening.startswith(self._held) for opening in self._openings):
            return False
        return self._text(parts)

    def _begin(self, opening: str, name: str, parts: list[Part]) -> None:
        self._held = self._held[len(opening) :]
        self.calls.append(Call(f"call_{secrets.token_hex(12)}", name))
        self._json = _JsonEnd()
        parts.append(Part(index=len(self.calls) - 1))

    def _text(self, parts: list[Part]) -> bool:
        """Text up to where a call may begin."""
        if self.calls or not self._text_may_come:
            return False
        end = len(self._held)
        if self._spelling.open:
            mark = self._spelling.open
            at = self._held.find(mark)
            if at < 0:
                at = next(
                    (len(self._held) - n for n in range(len(mark) - 1, 0, -1) if self._held.endswith(mark[:n])), end
                )
            end = at
        if end:
            parts.append(Part(text=self._held[:end]))
            self._held = self._held[end:]
            if not self._spelling.open:
                self._openings = {}
        return bool(end)

    def _skipped(self) -> bool:
        count = 0
        while count < len(self._skip) and count < len(self._held) and self._skip[count] == self._held[count]:
            count += 1
        self._skip, self._held = self._skip[count:], self._held[count:]
        return count > 0


class _JsonEnd:
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

"""gpt-oss writes an answer as messages on channels: what it thinks, what it says, whom it calls.

    <|channel|>analysis<|message|>Rome.<|end|><|start|>assistant<|channel|>final<|message|>It is sunny.
    <|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Rome"}

Source: https://cookbook.openai.com/articles/openai-harmony.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from ownlm.engine.grammar import Grammar
from ownlm.serve.openai.spelling import atoms
from ownlm.serve.openai.tools import NO_ARGUMENTS, Call, Choice, Part, Schema

CHANNEL, MESSAGE, END, START = "<|channel|>", "<|message|>", "<|end|>", "<|start|>"
MARKS = (CHANNEL, MESSAGE, END, START, "<|constrain|>")
_TO = "to=functions."


def writes_channels(template: str) -> bool:
    """Whether a chat template is of this kind."""
    return all(mark in template for mark in (CHANNEL, MESSAGE, START))


def grammar(
    tools: Sequence[tuple[str, Schema | None]], choice: Choice, answer: Grammar | None, special: Mapping[str, int]
) -> Grammar:
    """A thought, then a text (``answer``: what it must be) or a call. ``special``: the model's tokens by their text."""
    calls = []
    found = [
        f"thought: {atoms(CHANNEL + 'analysis' + MESSAGE, special)} TEXT? {atoms(END + START + 'assistant', special)}",
        f"final: {atoms(CHANNEL + 'final' + MESSAGE, special)} {'TEXT?' if answer is None else 'answer'}",
        "TEXT: /(?s:.+)/",
    ]
    if answer is not None:
        found.append(f"answer: {answer.lark_rule()}")
    for index, (name, schema) in enumerate(tools):
        wanted = Grammar.json_schema({"type": "object", **schema} if schema else NO_ARGUMENTS, compact=True)
        opening = f"{CHANNEL}commentary {_TO}{name} <|constrain|>json{MESSAGE}"
        found += [f"call{index}: {atoms(opening, special)} arguments{index}", f"arguments{index}: {wanted.lark_rule()}"]
        calls.append(f"call{index}")
    kinds = calls if choice == "required" else ["final", *calls]
    return Grammar.lark("\n".join([f"start: thought? ({' | '.join(kinds)})", *found]))


class ChannelParser:
    """Takes such an answer apart, piece by piece. What a model writes outside of channels is text."""

    def __init__(self) -> None:
        self._held = ""
        self._calls: list[Call] = []
        self._inside = False  # a message; else its header
        self._first = True
        self._kind = "text"

    @property
    def called(self) -> bool:
        """Whether a call has begun."""
        return bool(self._calls)

    def push(self, piece: str, *, last: bool = False) -> list[Part]:
        """The parts that a piece completes; ``last``: no more comes."""
        self._held += piece
        parts: list[Part] = []
        while self._held and (self._in_message(parts, last) if self._inside else self._in_header(parts)):
            pass
        return parts

    def _in_header(self, parts: list[Part]) -> bool:
        begin = self._held.lstrip()
        if self._first and not any(begin.startswith(mark[: len(begin)]) for mark in (CHANNEL, START, _TO)):
            self._inside = True  # a plain text
            return True
        header, found, rest = self._held.partition(MESSAGE)
        if not found:
            return False
        self._inside, self._first, self._held = True, False, rest
        self._open(header, parts)
        return True

    def _open(self, header: str, parts: list[Part]) -> None:
        channel = header.partition(CHANNEL)[2].split(" ")[0].split("<")[0]
        name = header.partition(_TO)[2].split(" ")[0].split("<")[0]
        self._kind = "call" if name else "thought" if channel == "analysis" else "text"
        if name:
            self._calls.append(Call(f"call_{secrets.token_hex(12)}", name))
            parts.append(Part(index=len(self._calls) - 1, call=self._calls[-1]))

    def _in_message(self, parts: list[Part], last: bool) -> bool:
        body, found, rest = self._held.partition(END)
        size = 0 if found or last else _beginning(body)
        self._held = rest if found else body[len(body) - size :]
        text = body[: len(body) - size]
        if text and self._kind == "call":
            self._calls[-1].arguments += text
            parts.append(Part(index=len(self._calls) - 1, arguments=text))
        elif text:
            parts.append(Part(reasoning=text) if self._kind == "thought" else Part(text=text))
        self._inside = not found
        return bool(found)


def _beginning(text: str) -> int:
    """How many of the last characters may begin the mark that ends a message."""
    return next((size for size in range(len(END) - 1, 0, -1) if text.endswith(END[:size])), 0)

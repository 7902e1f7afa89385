"""How a model writes a call of a function: fixed texts around the name and the arguments.

    <tool_call>                                                     Qwen, Hermes, SmolLM3 and many others: after a
    {"name": "weather", "arguments": {"city": "Rome"}}              text, and several
    </tool_call>
    {"name": "weather", "parameters": {"city": "Rome"}}             Llama 3.x: instead of a text, and one
    [TOOL_CALLS] [{"name": "weather", "arguments": {...}}, ...]     Mistral
    [TOOL_CALLS]weather[ARGS]{"city": "Rome"}                       Mistral, newer
    <|tool_call|>[{"name": "weather", "arguments": {...}}, ...]     Granite, Phi

Sources: the chat templates of these models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spelling:
    """``mark before CALL between CALL ... end``, where CALL is ``prefix NAME middle ARGUMENTS close``.

    ``mark`` is where a text ends and calls begin; without one, an answer is either. ``between`` is None where there is
    but one call.
    """

    mark: str
    before: str
    prefix: str
    middle: str
    close: str
    between: str | None
    end: str

    @property
    def begin(self) -> str:
        """What stands before the first call."""
        return self.mark + self.before

    def opening(self, name: str) -> str:
        """What stands before a call's arguments."""
        return f"{self.prefix}{name}{self.middle}"


TAGGED = Spelling(
    "<tool_call>", "\n", '{"name": "', '", "arguments": ', "}", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"
)
PLAIN = Spelling("", "", '{"name": "', '", "parameters": ', "}", None, "")
LISTED = Spelling("[TOOL_CALLS]", " [", '{"name": "', '", "arguments": ', "}", ", ", "]")
NAMED = Spelling("[TOOL_CALLS]", "", "", "[ARGS]", "", "[TOOL_CALLS]", "")
BARRED = Spelling("<|tool_call|>", "[", '{"name": "', '", "arguments": ', "}", ", ", "]")
CLOSED = Spelling("<|tool_call|>", "[", '{"name": "', '", "arguments": ', "}", ", ", "]<|/tool_call|>")


def spelling_of(template: str) -> Spelling:
    """The one that a chat template writes."""
    if "[TOOL_CALLS]" in template:
        return NAMED if "[ARGS]" in template else LISTED
    if "<|tool_call|>" in template:
        return CLOSED if "<|/tool_call|>" in template else BARRED
    return TAGGED if "<tool_call>" in template else PLAIN


def atoms(text: str, special: Mapping[str, int]) -> str:
    r"""A fixed text as a sequence of Lark terminals. Special tokens (by their ids) are tokens, the rest is text.

    >>> atoms("a<x>\n", {"<x>": 7})
    '"a" <[7]> "\\n"'
    """
    found: list[str] = []
    while text:
        places = [(text.find(token), -len(token), token) for token in special if token and token in text]
        at, _, token = min(places, default=(len(text), 0, ""))
        if at:
            found.append(json.dumps(text[:at]))
        if token:
            found.append(f"<[{special[token]}]>")
        text = text[at + len(token) :]
    return " ".join(found)

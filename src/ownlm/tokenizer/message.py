"""A message of a conversation, in the field's terms, and as chat templates read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ownlm.errors import InvalidSetting

Json = dict[str, Any]
Part = Mapping[str, Any]

_REASONING = ("reasoning", "reasoning_content", "thinking")
_KNOWN = {"role", "content", "tool_calls", "tool_call_id", "name", *_REASONING}
_EMPTY = {"refusal", "annotations", "audio", "function_call"}  # clients send these back with nothing in them
FIELDS = frozenset(_KNOWN | _EMPTY)


@dataclass(frozen=True, slots=True)
class Message:
    """``content``: a text, parts such as ``{"type": "text", "text": ...}``, or None beside tool calls.

    ``tool_calls``: ``{"id", "type": "function", "function": {"name", "arguments"}}``, arguments as an object or as
    JSON text. ``reasoning``: what the model thought before ``content``.
    """

    role: str
    content: str | Sequence[Part] | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None

    @classmethod
    def of(cls, value: Message | Mapping[str, Any], where: str = "messages") -> Message:
        """A message from its OpenAI shape. Raises InvalidSetting; nothing in it is ignored."""
        if isinstance(value, Message):
            return value
        if not isinstance(value, Mapping):
            raise InvalidSetting(where, value, "give an object with role and content")
        for key in value.keys() - _KNOWN:
            if key not in _EMPTY or value[key]:
                raise InvalidSetting(f"{where}.{key}", value[key], "messages have no such field")
        found = cls(
            value.get("role", ""),
            value.get("content"),
            value.get("tool_calls") or (),
            value.get("tool_call_id"),
            value.get("name"),
            next((value[key] for key in _REASONING if value.get(key) is not None), None),
        )
        found._check(where)
        return found

    def _check(self, where: str) -> None:
        if not isinstance(self.role, str) or not self.role:
            raise InvalidSetting(f"{where}.role", self.role, "give system, user, assistant or tool")
        for key in ("tool_call_id", "name", "reasoning"):
            if not isinstance(getattr(self, key), str | None):
                raise InvalidSetting(f"{where}.{key}", getattr(self, key), "give a text")
        if not isinstance(self.content, str | None):
            parts = self.content
            if not isinstance(parts, Sequence) or not all(isinstance(part, Mapping) for part in parts):
                raise InvalidSetting(f"{where}.content", parts, "give a text or a list of parts")
            for part in parts:
                if part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
                    raise InvalidSetting(f"{where}.content", part.get("type"), "only parts of type text are read")
        if isinstance(self.tool_calls, str) or not isinstance(self.tool_calls, Sequence):
            raise InvalidSetting(f"{where}.tool_calls", self.tool_calls, "give a list")
        for call in self.tool_calls:
            function = call.get("function", call) if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                raise InvalidSetting(f"{where}.tool_calls", call, "give a function with a name and arguments")

    def for_template(self, *, parts: bool) -> Json:
        """The object a template sees. ``parts``: it reads lists of parts; else their texts are joined by line ends."""
        found: Json = {"role": self.role, "content": self.content}
        if not isinstance(self.content, str | None):
            texts = [dict(part) for part in self.content]
            found["content"] = texts if parts else "\n".join(part["text"] for part in texts)
        if self.tool_calls:
            found["tool_calls"] = [_call(call) for call in self.tool_calls]
        for key in ("tool_call_id", "name"):
            if getattr(self, key) is not None:
                found[key] = getattr(self, key)
        if self.reasoning is not None:  # under each name that templates read it by
            found |= dict.fromkeys(_REASONING, self.reasoning)
        return found


def _call(call: Mapping[str, Any]) -> Json:
    """A tool call whose arguments are an object: templates write objects, clients send JSON text."""
    found = dict(call)
    if isinstance(found.get("function"), Mapping):
        return found | {"function": _call(found["function"])}
    arguments = found.get("arguments")
    if isinstance(arguments, str):
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            return found
        if isinstance(value, dict):
            found["arguments"] = value
    return found

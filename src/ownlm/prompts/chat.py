"""A conversation: the words of the user as they are, and nothing before them. Earlier turns are shots."""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.prompts.template import Prompt


@dataclass(frozen=True, slots=True)
class Chat:
    text: str


PROMPT = Prompt("chat", "chat-1", Chat, "{text}")

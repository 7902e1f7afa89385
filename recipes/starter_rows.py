"""What a row of the tuning data is, before it is a line of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ownlm.prompts.template import Prompt

Message = dict[str, str]


@dataclass(frozen=True)
class Row:
    """A conversation of a ``task``; ``read`` are the texts of the data set in it, which must not measure."""

    task: str
    messages: tuple[Message, ...]
    read: tuple[str, ...]

    @property
    def characters(self) -> int:
        return sum(len(message["content"]) + 20 for message in self.messages)

    @property
    def learnt(self) -> int:
        """Characters of the answers."""
        return sum(len(message["content"]) for message in self.messages if message["role"] == "assistant")


def row(task: str, prompt: Prompt[Any], inputs: Any, answer: str, read: Sequence[str]) -> Row:
    """One question in a prompt's words, and its answer."""
    return Row(task, (*prompt.messages(inputs), {"role": "assistant", "content": answer}), tuple(read))

"""Pairs of answers to learn from: JSON lines with a conversation, the answer that was chosen and the one rejected.

    {"messages": [{"role": "user", "content": "2 + 2?"}], "chosen": "4", "rejected": "5"}

An answer is a text, a message or a list of messages; a line may have ``tools`` and ``parallel_tool_calls``. OpenAI's
names are read too: ``input`` with the first three, ``preferred_output``, ``non_preferred_output``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidData
from ownlm.tokenizer import ChatTemplate
from ownlm.train.batch import Row
from ownlm.train.chat_rows import TooLong, check_settings, fingerprint, render, without
from ownlm.train.examples import FACTS, Example, Examples, open_examples, write_examples
from ownlm.train.jsonl import Line, objects
from ownlm.train.packing import joined

_FORMAT = "ownlm-pairs-1"
_FIELDS = {"messages", "tools", "parallel_tool_calls", "chosen", "rejected"}
_OPENAI = {"preferred_output": "chosen", "non_preferred_output": "rejected"}


@dataclass(frozen=True, slots=True)
class Pairs:
    """Each the chosen and the rejected conversation, as one row of two sequences. ``reference`` [pairs, 2] or None."""

    examples: Examples
    reference: NDArray[np.float32] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of both together."""
        found: NDArray[np.int64] = self.examples.lengths.reshape(-1, 2).sum(axis=1)
        return found

    def __len__(self) -> int:
        return len(self.examples) // 2

    def __getitem__(self, index: int) -> Row:
        row = joined([self.examples[2 * index], self.examples[2 * index + 1]])
        if self.reference is None:
            return row
        return replace(row, reference=tuple(self.reference[index].tolist()))


def preference_rows(
    files: Sequence[Path], template: ChatTemplate, cache: Path, *, length: int, too_long: TooLong = "refuse"
) -> Pairs:
    """The pairs of the files; both answers of one, with the conversation before each, take at most ``length`` tokens.

    Kept in ``cache``, and left out or refused, as ``chat_rows`` does. Raises InvalidData with file and line.
    """
    check_settings(length, too_long)
    mark = fingerprint(files, template, f"{_FORMAT} {length} {too_long}")
    folder = cache / mark[:32]
    if (folder / FACTS).is_file():
        return Pairs(open_examples(folder))
    facts: dict[str, Any] = {"fingerprint": mark, "pairs": 0, "left_out": 0}
    found = write_examples(folder, _examples(files, template, length, too_long, facts), facts)
    if not len(found):
        (folder / FACTS).unlink()
        problem = f"hold no pair of at most {length} tokens; {facts['left_out']} are longer"
        raise InvalidData(" ".join(map(str, files)), problem, "give pairs as JSON lines, or ask for longer rows")
    return Pairs(found)


def _examples(
    files: Sequence[Path], template: ChatTemplate, length: int, too_long: TooLong, facts: dict[str, Any]
) -> Iterator[Example]:
    for path in files:
        for line in objects(path):
            both = read_pair(line, template)
            size = sum(len(one.ids) for one in both)
            if size <= length:
                facts["pairs"] += 1
                yield from both
            elif too_long == "leave_out":
                facts["left_out"] += 1
            else:
                raise line.invalid(
                    f"is {size} tokens long, both answers together, where a row holds {length}",
                    "shorten it, or ask for longer rows or to leave such lines out",
                )


def read_pair(line: Line, template: ChatTemplate) -> tuple[Example, Example]:
    """The chosen and the rejected conversation, of which the answers alone are learnt. Raises InvalidData."""
    value = _usual(line)
    for key in value.keys() - _FIELDS:
        raise line.invalid(f"has {key!r}", f"lines have {', '.join(sorted(_FIELDS))} and nothing else")
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise line.invalid("has no list of messages", 'give {"messages": [...], "chosen": ..., "rejected": ...}')
    extra = {"parallel_tool_calls": value["parallel_tool_calls"]} if "parallel_tool_calls" in value else {}
    made = []
    for name in ("chosen", "rejected"):
        answer = _answer(value.get(name), name, line)
        rendered = render(line, template, [*messages, *answer], value.get("tools"), **extra)
        mask = rendered.loss_mask
        assert mask is not None
        before = [False for message in messages if message.get("role") == "assistant"]
        if before:
            mask = without(mask, [*before, *(message["role"] == "assistant" for message in answer)], line)
        if not any(mask[1:]):
            raise line.invalid(f"has a {name!r} of which nothing is learnt", "give what the assistant says")
        made.append(Example(rendered.ids, mask))
    if list(made[0].ids) == list(made[1].ids):
        raise line.invalid("has the same answer twice", "give two that differ")
    return made[0], made[1]


def _usual(line: Line) -> dict[str, Any]:
    """OpenAI's names as ours."""
    value = line.value
    if "input" not in value:
        return value
    if not isinstance(value["input"], dict):
        raise line.invalid("has an input that is no object", 'give {"messages": [...]}')
    return {**value["input"], **{_OPENAI.get(key, key): part for key, part in value.items() if key != "input"}}


def _answer(value: Any, name: str, line: Line) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    answer = [value] if isinstance(value, dict) else value
    if not isinstance(answer, list) or not answer or not all(isinstance(message, dict) for message in answer):
        raise line.invalid(f"has no answer {name!r}", "give a text, a message or a list of messages")
    if answer[0].get("role") != "assistant":
        raise line.invalid(f"has a {name!r} that the assistant does not begin", "give what the assistant says")
    return answer

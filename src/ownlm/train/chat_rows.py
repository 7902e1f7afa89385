"""Conversations to learn from: JSON lines in OpenAI's fine-tuning format, rendered by the one renderer, kept on disk.

    {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}

A line may also have ``tools`` (as in a request), ``parallel_tool_calls`` (a variable of the template) and ``weight``:
how often it is shown in a pass over the data, 0 for not at all. An assistant's message may have ``weight`` 0: it is
read and not learnt. What the assistant says is learnt, end of turn included; all else is only read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ownlm.errors import InvalidData, InvalidSetting, OwnLMError
from ownlm.tokenizer import ChatTemplate
from ownlm.tokenizer.chat import Rendered
from ownlm.train.examples import FACTS, Example, Examples, open_examples, write_examples
from ownlm.train.jsonl import Line, objects

TooLong = Literal["refuse", "leave_out"]
_FORMAT = "ownlm-chat-1"
_FIELDS = {"messages", "tools", "parallel_tool_calls", "weight"}
_REMEDY = "mend the line or remove it"


def chat_rows(
    files: Sequence[Path],
    template: ChatTemplate,
    cache: Path,
    *,
    length: int,
    too_long: TooLong = "refuse",
) -> Examples:
    """The conversations of the files as examples of at most ``length`` tokens.

    They are kept in a folder of ``cache`` that is named after files, template, tokenizer and settings, and made
    again only if one of these changes. ``too_long``: a longer conversation is refused, or left out and counted in
    ``facts["left_out"]``; none is cut. Raises InvalidData with file and line.
    """
    check_settings(length, too_long)
    mark = fingerprint(files, template, f"{_FORMAT} {length} {too_long}")
    folder = cache / mark[:32]
    if (folder / FACTS).is_file():
        found = open_examples(folder)
        if found.facts.get("fingerprint") == mark:
            return found
    work = _Work(template, length, too_long)
    facts: dict[str, Any] = {"fingerprint": mark}
    found = write_examples(folder, work.examples(files, facts), facts)
    if not len(found):
        (folder / FACTS).unlink()
        left = facts["left_out"]
        problem = (
            f"hold no conversation of at most {length} tokens; {left} are longer" if left else "hold no conversation"
        )
        raise InvalidData(" ".join(map(str, files)) or "the list of files", problem, "give conversations as JSON lines")
    return found


def check_settings(length: int, too_long: str) -> None:
    """Raise InvalidSetting for what they cannot be."""
    if too_long not in ("refuse", "leave_out"):
        raise InvalidSetting("too_long", too_long, "give refuse or leave_out")
    if length < 2:
        raise InvalidSetting("length", length, "give at least 2 tokens")


def fingerprint(files: Sequence[Path], template: ChatTemplate, settings: str) -> str:
    """Hex SHA-256 of all that examples depend on. Raises InvalidData for a file that cannot be read."""
    whole = hashlib.sha256(f"{settings}\0{template.tokenizer.sha256}\0".encode())
    special = template.tokenizer.special
    whole.update(json.dumps([template.templates, dict(special.names)], sort_keys=True).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InvalidData(path, f"cannot be read ({error.strerror})", "give a file of JSON lines") from None
    return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class _Work:
    template: ChatTemplate
    length: int
    too_long: TooLong

    def examples(self, files: Sequence[Path], facts: dict[str, Any]) -> Iterator[Example]:
        """Of all files in order; ``facts`` has the counts at the end."""
        counts = {"conversations": 0, "shown": 0, "left_out": 0, "tokens": 0, "learnt": 0, "spelled_control_tokens": 0}
        for path in files:
            for line in objects(path):
                rendered, weight = read_row(line, self.template)
                counts["conversations"] += 1
                counts["spelled_control_tokens"] += bool(rendered.notes)
                if self._leave_out(rendered, line):
                    counts["left_out"] += 1
                    continue
                mask = rendered.loss_mask
                assert mask is not None
                for _ in range(weight):
                    counts["shown"] += 1
                    counts["tokens"] += len(mask)
                    counts["learnt"] += sum(mask[1:])
                    yield Example(rendered.ids, mask)
        facts.update(counts)

    def _leave_out(self, rendered: Rendered, line: Line) -> bool:
        if len(rendered.ids) <= self.length:
            return False
        if self.too_long == "refuse":
            problem = f"is {len(rendered.ids)} tokens long where a row holds {self.length}"
            raise InvalidData(
                line.path, problem, "shorten it, or ask for longer rows or to leave such lines out", line=line.number
            )
        return True


def read_row(line: Line, template: ChatTemplate) -> tuple[Rendered, int]:
    """A line as the model reads it, its mask included, and how often it is shown. Raises InvalidData."""
    value = line.value
    for key in value.keys() - _FIELDS:
        raise line.invalid(f"has {key!r}", f"lines have {', '.join(sorted(_FIELDS))} and nothing else")
    weight = value.get("weight", 1)
    if type(weight) is not int or weight < 0:
        raise line.invalid(f"has the weight {weight!r}", "give 0, 1 or how often the line is to be shown")
    messages, kept = _messages(value.get("messages"), line)
    tools = value.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        raise line.invalid("has tools that are no list of objects", "give them as in a request")
    extra = {"parallel_tool_calls": value["parallel_tool_calls"]} if "parallel_tool_calls" in value else {}
    rendered = render(line, template, messages, tools, **extra)
    mask = rendered.loss_mask
    assert mask is not None
    if not all(kept):
        mask = without(mask, kept, line)
        rendered = Rendered(rendered.text, rendered.ids, mask, rendered.notes)
    if weight and not any(mask[1:]):
        raise line.invalid("has nothing that the assistant says to learn", _REMEDY)
    return rendered, weight


def render(line: Line, template: ChatTemplate, messages: Sequence[Any], tools: Any = None, **extra: Any) -> Rendered:
    """As the model reads them, with the mask; what is wrong with them is said with file and line."""
    try:
        return template.render(messages, tools, add_generation_prompt=False, loss_mask=True, **extra)
    except OwnLMError as error:
        raise line.invalid(f"cannot be rendered ({error})", _REMEDY) from None


def _messages(value: Any, line: Line) -> tuple[list[Any], list[bool]]:
    """The messages without their weights, and which of the assistant's are to be learnt."""
    if not isinstance(value, list) or not value:
        raise line.invalid("has no list of messages", 'give {"messages": [...]}')
    messages: list[Any] = []
    kept: list[bool] = []
    for rank, message in enumerate(value):
        if not isinstance(message, dict):
            raise line.invalid(f"has messages[{rank}] that is no object", "give role and content")
        weight = message.get("weight", 1)
        if "weight" in message and (
            message.get("role") != "assistant" or type(weight) is not int or weight not in (0, 1)
        ):
            raise line.invalid(
                f"has messages[{rank}] with weight {weight!r}", "only assistant's messages have one, of 0 or 1"
            )
        messages.append({key: part for key, part in message.items() if key != "weight"})
        if message.get("role") == "assistant":
            kept.append(weight == 1)
    return messages, kept


def without(mask: Sequence[int], kept: Sequence[bool], line: Line) -> list[int]:
    """The mask without the turns that are not to be learnt; the assistant's turns are its runs of ones."""
    found = list(mask)
    starts = [at for at, one in enumerate(mask) if one and not (at and mask[at - 1])]
    if len(starts) != len(kept):
        raise line.invalid(
            f"has {len(kept)} assistant's messages, which the chat template writes as {len(starts)} turns",
            "weights of single messages need a template that keeps them apart",
        )
    for start, wanted in zip(starts, kept, strict=True):
        at = start
        while not wanted and at < len(found) and mask[at]:
            found[at] = 0
            at += 1
    return found

"""A prompt: words with fields, a version, and the type of what is filled in.

inputs (a frozen dataclass) ──> "{text}\\n\\nPositive or negative?" ──> messages ──> chat template ──> ids
Sentiment("Great value.")                                              [{"role": "user", "content": ...}]
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

from ownlm.errors import InvalidSetting

Inputs = TypeVar("Inputs")


@dataclass(frozen=True, slots=True)
class Shot(Generic[Inputs]):
    """An example that is shown: what was given, and the answer to it. Turns of a conversation are shots, too."""

    inputs: Inputs
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt(Generic[Inputs]):
    """``template``: the task it is for ("sentiment"); ``version`` changes whenever a word of it does.

    ``user`` and ``system`` hold fields such as ``{text}``: names of ``inputs``' fields and properties that are texts;
    ``{{`` is a brace. ``shots`` stand before every question. Raises InvalidSetting for a field that ``inputs`` lacks.

    >>> @dataclass(frozen=True)
    ... class Riddle:
    ...     text: str
    >>> Prompt("riddle", "riddle-1", Riddle, "{text} What is it?").messages(Riddle("It burns."))
    [{'role': 'user', 'content': 'It burns. What is it?'}]
    """

    template: str
    version: str
    inputs: type[Inputs]
    user: str
    system: str = ""
    shots: tuple[Shot[Inputs], ...] = ()

    def __post_init__(self) -> None:
        there = fields_of(self.inputs)
        for where, text in (("user", self.user), ("system", self.system)):
            for name in _names(text, f"{self.template}.{where}"):
                if name not in there:
                    remedy = f"the fields of a prompt for {self.template} are {', '.join(sorted(there))}"
                    raise InvalidSetting(f"{self.template}.{where}", "{" + name + "}", remedy)
        if not any(True for _ in _names(self.user, f"{self.template}.user")):
            raise InvalidSetting(f"{self.template}.user", self.user, "name at least one field, such as {text}")

    def messages(self, inputs: Inputs, shots: Sequence[Shot[Inputs]] = ()) -> list[dict[str, str]]:
        """The conversation that ends with the question; ``shots`` follow the prompt's own."""
        found = []
        if self.system:
            found.append({"role": "system", "content": _fill(self.system, inputs)})
        for shot in (*self.shots, *shots):
            found.append({"role": "user", "content": _fill(self.user, shot.inputs)})
            found.append({"role": "assistant", "content": shot.answer})
        found.append({"role": "user", "content": _fill(self.user, inputs)})
        return found


def fields_of(inputs: type[Any]) -> frozenset[str]:
    """What a template may name: fields and properties that are texts.

    >>> @dataclass(frozen=True)
    ... class Riddle:
    ...     text: str
    ...     number: int
    ...     @property
    ...     def loud(self) -> str:
    ...         return self.text.upper()
    >>> sorted(fields_of(Riddle))
    ['loud', 'text']
    """
    plain = {field.name for field in dataclasses.fields(inputs) if field.type in (str, "str")}
    made = {name for name, value in vars(inputs).items() if isinstance(value, property)}
    return frozenset(plain | made)


def named_by_words(template: str, user: str, system: str, shots: Sequence[Shot[Any]] = ()) -> str:
    """The version of a prompt that no release numbered: a digest of all its words.

    >>> named_by_words("sentiment", "{text}", "")
    'sentiment-x03918063'
    """
    said = [user, system, *(f"{shot.inputs!r}{shot.answer}" for shot in shots)]
    return f"{template}-x{sha256(chr(0).join(said).encode('utf-8')).hexdigest()[:8]}"


def _names(text: str, where: str) -> Iterator[str]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InvalidSetting(where, text, f"{error}; write {{{{ and }}}} for braces") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise InvalidSetting(where, text, "fields are names between braces; write {{ and }} for braces")
        yield name


def _fill(text: str, inputs: object) -> str:
    """Each field once; what is filled in is not read again."""
    parts = string.Formatter().parse(text)
    return "".join(before + (getattr(inputs, name) if name else "") for before, name, _, _ in parts)

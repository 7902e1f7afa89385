"""Who writes: a model of ours, held by a grammar, or another server, held afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ownlm.engine.block_table import Owner
from ownlm.errors import BackendError, TemplateError
from ownlm.prompts import Prompt, load
from ownlm.prompts.grounded import Grounded
from ownlm.rag.generate.grammar import grammar

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM

Messages = Sequence[Mapping[str, str]]
OnText = Callable[[str], None]
Owners = Sequence[tuple[str, Messages]]
"""Tags of the owners of text in a prompt, each with the messages without that text and all behind it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came back. ``prompt_ids`` are the exact tokens that were read (None: the server does not say);
    ``finished``: the model ended the text itself; ``cached_tokens`` of the prompt were known already;
    of the answer, ``accepted_tokens`` were drafted, and ``rejected_tokens`` were drafted in vain. Of the
    cached ones ``from_disk`` outlived a process; ``first_difference`` is the index of the prompt's first token that the
    nearest prompt before it has not."""

    text: str
    finished: bool
    prompt_ids: tuple[int, ...] | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    accepted_tokens: int = 0
    rejected_tokens: int = 0
    from_disk: int = 0
    first_difference: int | None = None


class NoRoom(BackendError):
    """Another server says that the prompt is longer than its context."""


class Generator(Protocol):
    """``enforced``: an answer cannot break the grammar. ``name`` and ``fingerprint`` say which model wrote, and
    ``prompt`` in which words it is asked."""

    name: str
    enforced: bool
    prompt: Prompt[Grounded]

    @property
    def fingerprint(self) -> str: ...

    def fits(self, messages: Messages, max_tokens: int) -> bool:
        """Whether the prompt and so many tokens of answer have room; True where nobody knows."""
        ...

    def write(
        self, messages: Messages, passages: Sequence[str], max_tokens: int, on_text: OnText, owners: Owners = ()
    ) -> Written:
        """The answer; ``on_text`` is given each piece as it comes. ``owners`` say whose text the messages hold. Raises
        NoRoom where only the server knows."""
        ...


class LocalGenerator:
    """A model in this process."""

    enforced = True

    def __init__(self, llm: LLM, settings: Mapping[str, Any] | None = None) -> None:
        """``settings`` of sampling; by default the most likely token each time."""
        self.llm = llm
        self.name = llm.name
        self.prompt = load("grounded", llm)
        self._settings = {"temperature": 0.0, **(settings or {})}

    @property
    def fingerprint(self) -> str:
        return self.llm.fingerprint

    def fits(self, messages: Messages, max_tokens: int) -> bool:
        return len(prompt_ids(self.llm, messages)) + max_tokens <= self.llm.context

    def write(
        self, messages: Messages, passages: Sequence[str], max_tokens: int, on_text: OnText, owners: Owners = ()
    ) -> Written:
        from ownlm.engine.grammar import Grammar

        ids = prompt_ids(self.llm, messages)
        owned = [Owner(tag, _alike(ids, prompt_ids(self.llm, before))) for tag, before in owners]
        params = self.llm.params(**self._settings, max_tokens=max_tokens, grammar=Grammar.lark(grammar(passages)))
        (generation,) = self.llm.start(ids, params, owners=owned)
        for piece in generation:
            if piece.text:
                on_text(piece.text)
        output = generation.output()
        return Written(
            output.text,
            output.finish_reason == "stop",
            tuple(ids),
            output.prompt_tokens,
            output.completion_tokens,
            output.cached_tokens,
            output.accepted_tokens,
            output.rejected_tokens,
            output.reuse.from_disk,
            output.reuse.difference,
        )


def prompt_ids(llm: LLM, messages: Messages) -> list[int]:
    """What a model reads where an answer is to follow at once, without thoughts. A model without a chat template reads
    the messages as plain text; one whose template knows no system role (Gemma) reads them as one message."""
    if llm.chat_template is None:
        return llm.encode(_joined(messages) + "\nAnswer:")
    try:
        return list(llm.render(messages, enable_thinking=False).ids)
    except TemplateError:
        whole = [{"role": "user", "content": _joined(messages)}]
        return list(llm.render(whole, enable_thinking=False).ids)


def _alike(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens from the first on are the same: what is computed of them depends on nothing that comes later."""
    pairs = zip(ids, others, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))


def _joined(messages: Messages) -> str:
    return "\n\n".join(message["content"] for message in messages)

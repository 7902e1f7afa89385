"""A conversation: lines in, answers out as they are written."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ownlm.cli.output import counted, note, visible, write
from ownlm.errors import OwnLMError, PromptTooLong, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from ownlm.engine.generation import Generation
    from ownlm.engine.llm import LLM

PROMPT = ">>> "
MORE = "... "
FENCE = '"""'
HELP = f"""\
/reset          begin a new conversation
/system TEXT    tell the model TEXT before a new conversation; without TEXT nothing
/help           this
/exit           end; so does Ctrl-D
{FENCE}             begins and ends a message of several lines
Ctrl-C          stops an answer; what was written stays in the conversation"""
_COMMAND = re.compile(r"/[a-z]+")


class Conversation:
    """``settings`` are those of every answer. ``run`` returns when the input ends."""

    def __init__(self, llm: LLM, settings: dict[str, Any], system: str | None = None) -> None:
        self._llm = llm
        self._settings = settings
        self._system = system
        self._messages: list[dict[str, str]] = []
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self._reset(system)

    def run(self) -> None:
        llm = self._llm
        llm.render([{"role": "user", "content": "."}])  # a model that cannot chat says so now
        if self._terminal:
            note(f"{llm.name}, {llm.context:,} tokens of context; /help shows the commands")
        for text in _messages(self._terminal):
            if text.strip() and not self._command(text.strip()):
                self._answer(text)
            if text.strip() == "/exit":
                return

    def _command(self, text: str) -> bool:
        """Whether the text was a command, which is done."""
        word, _, rest = text.partition(" ")
        match word:
            case "/help" if not rest:
                note(HELP)
            case "/exit" if not rest:
                pass
            case "/reset" if not rest:
                self._reset(self._system)
                note("a new conversation")
            case "/system":
                self._reset(rest.strip() or None)
                note("a new conversation" + ("" if self._system else ", without a system message"))
            case _:
                if not _COMMAND.fullmatch(text):  # a path, say
                    return False
                note(f"there is no command {text}; /help shows those there are")
        return True

    def _reset(self, system: str | None) -> None:
        self._system = system
        self._messages = [] if system is None else [{"role": "system", "content": system}]

    def _answer(self, text: str) -> None:
        asked = {"role": "user", "content": text}
        started = time.perf_counter()
        try:
            generation = self._llm.stream_chat([*self._messages, asked], **self._settings)
            answer, first = self._stream(generation)
        except OwnLMError as error:
            if not self._terminal:
                raise
            note(f"{error}; /reset begins a new conversation" if isinstance(error, PromptTooLong) else str(error))
            return
        ended = time.perf_counter()
        self._messages += [asked, {"role": "assistant", "content": answer}]
        note(f"[{_speed(generation, self._llm.context, first - started, ended - first)}]")

    def _stream(self, generation: Generation) -> tuple[str, float]:
        """The text that was shown, and when the first of it came."""
        pieces: list[str] = []
        first = 0.0
        with _interrupting(generation):
            for delta in generation:
                first = first or time.perf_counter()
                pieces.append(delta.text)
                write(visible(delta.text))
        if not "".join(pieces).endswith("\n"):
            write("\n")
        return "".join(pieces), first


def _speed(generation: Generation, context: int, wait: float, took: float) -> str:
    """
    Of the answer: tokens, tokens a second after the first, the time to the first, and how full the context is.
    """
    tokens = generation.completion_tokens
    parts = [counted(tokens, "token")]
    if tokens > 1 and took > 0:
        parts.append(f"{(tokens - 1) / took:.1f} tokens/s")
    parts.append(f"first after {wait:.2f} s")
    parts.append(f"context {generation.prompt_tokens + tokens:,} of {context:,}")
    ends = {"cancelled": "stopped", "length": "cut: the limit of tokens was reached"}
    reason = generation.finish_reason
    return ", ".join([*parts, ends[reason]] if reason in ends else parts)


@contextmanager
def _interrupting(generation: Generation) -> Iterator[None]:
    """Ctrl-C cancels the answer; pressed again, it ends the program."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        generation.cancel()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _messages(terminal: bool) -> Iterator[str]:
    """The messages typed, or piped in. Raises UsageError for bytes that are no text."""
    lines = _typed() if terminal else _piped()
    for line in lines:
        if not line.lstrip().startswith(FENCE):
            yield line
            continue
        held = [line.lstrip().removeprefix(FENCE)]
        while not held[-1].rstrip().endswith(FENCE):
            more = next(lines, None)
            if more is None:
                raise UsageError(f"the input ends within a message that {FENCE} began")
            held.append(more)
        held[-1] = held[-1].rstrip().removesuffix(FENCE)
        yield "\n".join(held).strip("\n")


def _typed() -> Iterator[str]:
    if importlib.util.find_spec("readline"):
        importlib.import_module("readline")  # gives ``input`` a history and its keys
    shown = sys.stdout.isatty()
    while True:
        try:
            if not shown:
                print(PROMPT, end="", file=sys.stderr, flush=True)  # noqa: T201
            yield input(PROMPT if shown else "")
        except EOFError:
            print(file=sys.stderr)  # noqa: T201
            return
        except KeyboardInterrupt:
            note("\n/exit or Ctrl-D ends")
        except UnicodeDecodeError:
            note("that was not UTF-8: it is not sent")


def _piped() -> Iterator[str]:
    lines = () if sys.stdin is None else sys.stdin.buffer  # None: closed by whoever started us
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(f"line {number} of the input is not UTF-8: convert it first") from None

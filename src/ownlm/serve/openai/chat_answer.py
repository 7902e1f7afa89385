"""A chat answer on its way out: whole, or in chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ownlm.engine.generation import Delta, Generation
from ownlm.engine.request import TokenOut
from ownlm.serve.openai.answer_form import Form, Parser
from ownlm.serve.openai.channels import ChannelParser
from ownlm.serve.openai.generations import pieces
from ownlm.serve.openai.objects import Json, chat_logprobs, usage
from ownlm.serve.openai.timings import Timings
from ownlm.serve.openai.tools import Call, Part
from ownlm.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """What the engine has begun, and how it is to be written."""

    id: str
    created: int
    model: str
    tokenizer: Tokenizer
    form: Form
    generations: list[Generation]
    with_logprobs: bool
    with_usage: bool
    warnings: list[str]
    timings: Timings

    async def whole(self, idle_seconds: float) -> Json:
        """A ``chat.completion``."""
        choices = [_Choice(self.form.parser()) for _ in self.generations]
        async for news in pieces(self.generations, idle_seconds, self.timings):
            if news is not None:
                choices[news[0]].add(news[1])
        found = [
            {
                "index": index,
                "message": choice.message(),
                "finish_reason": choice.reason(),
                "logprobs": chat_logprobs(self.tokenizer, choice.tokens) if self.with_logprobs else None,
            }
            for index, choice in enumerate(choices)
        ]
        return self._object("chat.completion", found) | {"usage": usage(self.generations)}

    async def chunks(self, idle_seconds: float) -> AsyncIterator[Json | None]:
        """``chat.completion.chunk``: the role first; then texts and calls; a last one with the reason; then usage."""
        choices = [_Choice(self.form.parser()) for _ in self.generations]
        stream = pieces(self.generations, idle_seconds, self.timings)
        try:
            for index in range(len(choices)):
                yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
            async for news in stream:
                if news is None:
                    yield None
                    continue
                index, delta = news
                logprobs = chat_logprobs(self.tokenizer, delta.tokens) if self.with_logprobs and delta.tokens else None
                for part in choices[index].add(delta):
                    yield self._chunk(index, choices[index].delta(part), logprobs=logprobs)
                    logprobs = None
                if logprobs is not None:
                    yield self._chunk(index, {}, logprobs=logprobs)
                if delta.finish_reason is not None:
                    yield self._chunk(index, {}, choices[index].reason())
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # a generator
        if self.with_usage:
            yield self._object("chat.completion.chunk", []) | {"usage": usage(self.generations)}

    def _chunk(self, index: int, delta: Json, reason: str | None = None, logprobs: Json | None = None) -> Json:
        choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
        found = self._object("chat.completion.chunk", [choice])
        return found | {"usage": None} if self.with_usage else found

    def _object(self, kind: str, choices: list[Json]) -> Json:
        found: Json = {
            "id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices,
            "system_fingerprint": None,
        }  # fmt: skip
        return found | ({"warnings": self.warnings} if self.warnings else {})


class _Choice:
    """One of ``n`` answers, as far as it has come."""

    def __init__(self, parser: Parser | ChannelParser) -> None:
        self.tokens: list[TokenOut] = []
        self._parser = parser
        self._reason: str | None = None
        self._text = self._reasoning = ""
        self._calls: list[Call] = []

    def add(self, delta: Delta) -> list[Part]:
        """The parts that a piece completes."""
        self.tokens += delta.tokens
        self._reason = delta.finish_reason
        parts = self._parser.push(delta.text, last=delta.finish_reason is not None)
        for part in parts:
            self._text += part.text
            self._reasoning += part.reasoning
            if part.call is not None:
                self._calls.append(part.call)
        return parts

    def reason(self) -> str | None:
        """Why it ended, as OpenAI says it."""
        return "tool_calls" if self._calls and self._reason == "stop" else self._reason

    def message(self) -> Json:
        """The whole message."""
        found: Json = {
            "role": "assistant",
            "content": self._text or (None if self._calls else ""),
            "refusal": None,
        }
        if self._reasoning:
            found["reasoning_content"] = self._reasoning
        if self._calls:
            found["tool_calls"] = [_call(call, call.arguments) for call in self._calls]
        return found

    def delta(self, part: Part) -> Json:
        """What a part adds to the message."""
        if part.text:
            return {"content": part.text}
        if part.reasoning:
            return {"reasoning_content": part.reasoning}
        if part.call is not None:
            return {"tool_calls": [{"index": part.index} | _call(part.call, "")]}
        return {"tool_calls": [{"index": part.index, "function": {"arguments": part.arguments}}]}


def _call(call: Call, arguments: str) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

"""POST /v1/chat/completions."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ownlm.engine.generation import Delta, Generation
from ownlm.engine.grammar import Grammar
from ownlm.engine.llm import LLM
from ownlm.engine.request import TokenOut
from ownlm.serve.openai import tools as tool_calls
from ownlm.serve.openai.body import check_model, sampling, unknown_fields
from ownlm.serve.openai.generations import pieces
from ownlm.serve.openai.objects import Json, chat_logprobs, usage
from ownlm.serve.openai.schema import ChatBody, NamedTool
from ownlm.serve.openai.sse import Stream
from ownlm.serve.problem import Problem
from ownlm.serve.settings import Settings
from ownlm.serve.work import Gate, Stop, while_connected


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that the engine has begun."""

    id: str
    created: int
    body: ChatBody
    generations: list[Generation]
    names: list[str]
    spelling: tool_calls.Spelling
    choice: tool_calls.Choice
    warnings: list[str]

    def reader(self) -> tool_calls.Reader | None:
        """What reads an answer that may hold calls."""
        return tool_calls.Reader(self.spelling, self.names, self.choice) if self.names else None


def router(llm: LLM, settings: Settings, gate: Gate) -> APIRouter:
    """The route, bound to a model."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatBody) -> Response:
        """The assistant's next message."""
        prepared = await while_connected(request.receive, Stop(), gate.run(_prepare, llm, settings, body))
        if body.stream:
            return Stream(_chunks(llm, prepared, settings.keep_alive_seconds))
        return JSONResponse(await while_connected(request.receive, Stop(), _whole(llm, prepared, settings)))

    return routes


def _prepare(llm: LLM, settings: Settings, body: ChatBody) -> _Prepared:
    warnings = unknown_fields(body, settings.lenient)
    check_model(body.model, llm)
    found = sampling(body)
    if body.max_completion_tokens is not None:
        found["max_tokens"] = body.max_completion_tokens
    if body.logprobs:
        found["logprobs"] = body.top_logprobs or 0
    tools = body.tools if body.tools and body.tool_choice != "none" else None
    template = llm.chat_template.source(tools=bool(tools)) if llm.chat_template is not None else ""
    spelling = tool_calls.spelling_of(template)
    names, choice = _grammar(body, found, spelling)
    rendered = llm.render(
        [_message(message) for message in body.messages],
        [tool.model_dump(exclude_none=True) for tool in tools] if tools else None,
        **(body.chat_template_kwargs or {}),
    )
    generations = llm.start(rendered.ids, llm.params(**found), body.n or 1, skip_special=True)
    return _Prepared(
        f"chatcmpl-{uuid.uuid4().hex}",
        int(time.time()),
        body,
        generations,
        names,
        spelling,
        choice,
        [*warnings, *rendered.notes],
    )


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """``developer`` is what newer clients call ``system``."""
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def _grammar(
    body: ChatBody, found: dict[str, Any], spelling: tool_calls.Spelling
) -> tuple[list[str], tool_calls.Choice]:
    """Puts the grammar that tools or the response format ask for into the settings; the functions it may call."""
    form = body.response_format
    schema: dict[str, Any] | bool | None = None
    if form is not None and form.type != "text":
        schema = {"type": "object"} if form.json_schema is None else form.json_schema.schema_
    if (schema is not None or body.tools) and "grammar" in found and body.tool_choice != "none":
        raise Problem(
            400,
            "grammar or regex cannot be together with tools or response_format",
            code="invalid_value",
            param="grammar",
        )
    if not body.tools or body.tool_choice == "none":
        if schema is not None:
            found["grammar"] = Grammar.json_schema(schema)
        return [], "auto"
    functions = {tool.function.name: tool.function for tool in body.tools}
    if len(functions) < len(body.tools):
        raise Problem(400, "two tools have the same name", code="invalid_value", param="tools")
    choice: tool_calls.Choice = "auto"
    if isinstance(body.tool_choice, NamedTool):
        name = body.tool_choice.function.name
        if name not in functions:
            raise Problem(
                400, f"tool_choice names {name!r}, which is no tool", code="invalid_value", param="tool_choice"
            )
        functions, choice = {name: functions[name]}, "required"
    elif body.tool_choice == "required":
        choice = "required"
    source = tool_calls.grammar(
        spelling,
        [(name, function.parameters) for name, function in functions.items()],
        choice,
        parallel=body.parallel_tool_calls is not False and not isinstance(body.tool_choice, NamedTool),
        answer=schema,
    )
    found["grammar"] = Grammar.lark(source)
    return list(functions), choice


async def _whole(llm: LLM, prepared: _Prepared, settings: Settings) -> Json:
    count = len(prepared.generations)
    texts = [""] * count
    readers = [prepared.reader() for _ in range(count)]
    tokens: list[list[TokenOut]] = [[] for _ in range(count)]
    reasons: list[str | None] = [None] * count
    async for news in pieces(prepared.generations, settings.keep_alive_seconds):
        if news is None:
            continue
        index, delta = news
        tokens[index] += delta.tokens
        reader = readers[index]
        if reader is None:
            texts[index] += delta.text
        else:
            texts[index] += "".join(part.text for part in reader.push(delta.text, last=delta.finish_reason is not None))
        reasons[index] = delta.finish_reason or reasons[index]
    choices = []
    for index in range(count):
        reader = readers[index]
        calls = reader.calls if reader is not None else []
        message: Json = {"role": "assistant", "content": texts[index] or (None if calls else ""), "refusal": None}
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        choices.append(
            {
                "index": index,
                "message": message,
                "finish_reason": _reason(reasons[index], bool(calls)),
                "logprobs": chat_logprobs(llm.tokenizer, tokens[index]) if prepared.body.logprobs else None,
            }
        )
    return _object(llm, prepared, "chat.completion", choices) | {"usage": usage(prepared.generations)}


def _reason(reason: str | None, called: bool) -> str | None:
    return "tool_calls" if called and reason == "stop" else reason


def _object(llm: LLM, prepared: _Prepared, kind: str, choices: list[Json]) -> Json:
    found: Json = {
        "id": prepared.id,
        "object": kind,
        "created": prepared.created,
        "model": llm.name,
        "choices": choices,
        "system_fingerprint": None,
    }
    return found | ({"warnings": prepared.warnings} if prepared.warnings else {})


async def _chunks(llm: LLM, prepared: _Prepared, idle_seconds: float) -> AsyncIterator[Json | None]:
    """The role first; then texts and calls; a last one with the reason; then usage, if asked for."""
    options = prepared.body.stream_options
    wants_usage = options is not None and options.include_usage
    readers = [prepared.reader() for _ in prepared.generations]

    def chunk(index: int, delta: Json, reason: str | None = None, logprobs: Json | None = None) -> Json:
        choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
        found = _object(llm, prepared, "chat.completion.chunk", [choice])
        return found | {"usage": None} if wants_usage else found

    stream = pieces(prepared.generations, idle_seconds)
    try:
        for index in range(len(prepared.generations)):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        async for news in stream:
            if news is None:
                yield None
                continue
            index, delta = news
            reader = readers[index]
            logprobs = chat_logprobs(llm.tokenizer, delta.tokens) if prepared.body.logprobs and delta.tokens else None
            for said in _deltas(delta, reader):
                yield chunk(index, said, logprobs=logprobs)
                logprobs = None
            if logprobs is not None:
                yield chunk(index, {}, logprobs=logprobs)
            if delta.finish_reason is not None:
                yield chunk(index, {}, _reason(delta.finish_reason, bool(reader and reader.calls)))
    finally:
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
    if wants_usage:
        yield _object(llm, prepared, "chat.completion.chunk", []) | {"usage": usage(prepared.generations)}


def _deltas(delta: Delta, reader: tool_calls.Reader | None) -> list[Json]:
    """What a piece adds to the message."""
    if reader is None:
        return [{"content": delta.text}] if delta.text else []
    found: list[Json] = []
    for part in reader.push(delta.text, last=delta.finish_reason is not None):
        if part.text:
            found.append({"content": part.text})
        elif part.arguments:
            found.append({"tool_calls": [{"index": part.index, "function": {"arguments": part.arguments}}]})
        else:
            call = reader.calls[part.index]
            found.append(
                {
                    "tool_calls": [
                        {
                            "index": part.index,
                            "id": call.id,
                            "type": "function",
                            "function": {"name": call.name, "arguments": ""},
                        }
                    ]
                }
            )
    return found

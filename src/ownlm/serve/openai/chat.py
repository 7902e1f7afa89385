"""POST /v1/chat/completions: what is asked, in the engine's terms."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ownlm.engine.llm import LLM
from ownlm.errors import InvalidGrammar
from ownlm.serve.openai.answer_form import form_of, wanted
from ownlm.serve.openai.body import check_chat, check_model, known_messages, sampling, unknown_fields
from ownlm.serve.openai.chat_answer import ChatAnswer
from ownlm.serve.openai.schema import ChatBody
from ownlm.serve.openai.sse import Stream
from ownlm.serve.openai.timings import Timings
from ownlm.serve.problem import Problem, from_error
from ownlm.serve.settings import Settings
from ownlm.serve.work import Gate, Stop, while_connected

NO_VARIABLES = {"self", "messages", "tools", "template", "loss_mask", "add_generation_prompt"}


def router(llm: LLM, settings: Settings, gate: Gate, timings: Timings) -> APIRouter:
    """The route, bound to a model."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatBody) -> Response:
        """The assistant's next message."""
        answer = await while_connected(request.receive, Stop(), gate.run(_begin, llm, settings, body, timings))
        if body.stream:
            return Stream(answer.chunks(settings.keep_alive_seconds))
        return JSONResponse(await while_connected(request.receive, Stop(), answer.whole(settings.keep_alive_seconds)))

    return routes


def _begin(llm: LLM, settings: Settings, body: ChatBody, timings: Timings) -> ChatAnswer:
    warnings = unknown_fields(body, settings.lenient)
    check_model(body.model, llm)
    check_chat(llm)
    found = sampling(body)
    if body.max_completion_tokens is not None:
        found["max_tokens"] = body.max_completion_tokens
    if body.logprobs:
        found["logprobs"] = body.top_logprobs or 0
    tools = wanted(body)
    warnings += _check_template(llm, body, bool(tools))
    variables = body.chat_template_kwargs or {}
    for name in variables.keys() & NO_VARIABLES:
        where = f"chat_template_kwargs.{name}"
        raise Problem(400, f"{where} is no variable of a template", code="invalid_value", param=where)
    messages = [_message(message) for message in known_messages(body.messages)]
    rendered = llm.render(messages, tools, **variables)
    try:
        form, found["grammar"] = form_of(llm, body, rendered.text, found.get("grammar"))
        params = llm.params(**found)
    except InvalidGrammar as error:
        given = (name for name in ("grammar", "regex", "response_format", "tools") if getattr(body, name) is not None)
        raise from_error(error, next(given)) from error
    generations = llm.start(rendered.ids, params, body.n or 1, skip_special=not form.marked)
    return ChatAnswer(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=llm.name,
        tokenizer=llm.tokenizer,
        form=form,
        generations=generations,
        with_logprobs=bool(body.logprobs),
        with_usage=body.stream_options is not None and body.stream_options.include_usage,
        warnings=[*warnings, *rendered.notes],
        timings=timings,
    )


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """An assistant that said nothing, and called nothing, said the empty text: templates would write "None"."""
    if message.get("role") == "assistant" and message.get("content") is None and not message.get("tool_calls"):
        return {**message, "content": ""}
    return message


def _check_template(llm: LLM, body: ChatBody, tools: bool) -> list[str]:
    """Refuse messages that the model's template would pass over; a warning where it only leaves the tools out."""
    if llm.chat_template is None:
        return []
    source = llm.chat_template.source(tools=tools)
    for index, message in enumerate(body.messages):
        where = f"messages[{index}]"
        if message.get("content") is None and message.get("role") != "assistant":
            raise Problem(400, f"{where}.content is null: give a text", code="invalid_value", param=f"{where}.content")
        if message.get("tool_calls") and "tool_calls" not in source:
            raise Problem(
                400,
                f"{where}.tool_calls: {llm.name}'s chat template does not write calls, so the model would not see them",
                code="unsupported_value",
                param=f"{where}.tool_calls",
            )
    if tools and "tools" not in source:
        return [f"{llm.name}'s chat template does not tell the model of tools: only the grammar of its answer does"]
    return []

"""POST /v1/completions: text goes on, or is filled in; log probabilities of the prompt too."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ownlm.engine.generation import Delta, Generation
from ownlm.engine.llm import LLM
from ownlm.engine.request import TokenOut
from ownlm.errors import PromptTooLong
from ownlm.serve.openai.body import check_model, sampling, unknown_fields
from ownlm.serve.openai.generations import pieces
from ownlm.serve.openai.objects import Json, PlainLogprobs, total_usage
from ownlm.serve.openai.schema import MAX_PROMPTS, CompletionBody
from ownlm.serve.openai.sse import Stream
from ownlm.serve.openai.timings import Timings
from ownlm.serve.problem import Problem, from_error
from ownlm.serve.settings import Settings
from ownlm.serve.work import Gate, Stop, while_connected

DEFAULT_TOKENS = 16  # OpenAI's, for plain completions


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that the engine has begun: ``n`` answers to each prompt, one after the other."""

    id: str
    created: int
    body: CompletionBody
    prompts: list[list[int]]
    texts: list[str]
    generations: list[Generation]
    warnings: list[str]
    timings: Timings

    def prompt_of(self, index: int) -> int:
        """Which prompt an answer belongs to."""
        return index // (self.body.n or 1)


def router(llm: LLM, settings: Settings, gate: Gate, timings: Timings) -> APIRouter:
    """The route, bound to a model."""
    routes = APIRouter()

    @routes.post("/v1/completions")
    async def completions(request: Request, body: CompletionBody) -> Response:
        """What follows a text."""
        prepared = await while_connected(request.receive, Stop(), gate.run(_prepare, llm, settings, body, timings))
        if body.stream:
            return Stream(_chunks(llm, prepared, settings.keep_alive_seconds))
        return JSONResponse(await while_connected(request.receive, Stop(), _whole(llm, prepared, settings)))

    return routes


def _prepare(llm: LLM, settings: Settings, body: CompletionBody, timings: Timings) -> _Prepared:
    warnings = unknown_fields(body, settings.lenient)
    check_model(body.model, llm)
    found = sampling(body)
    found.setdefault("max_tokens", DEFAULT_TOKENS)
    if body.logprobs is not None:
        found["logprobs"] = body.logprobs
        if body.echo:
            found["prompt_logprobs"] = body.logprobs
    prompts = _prompts(llm, body)
    params = llm.params(**found)
    generations: list[Generation] = []
    try:
        for ids in prompts:
            generations += llm.start(ids, params, body.n or 1)
    except PromptTooLong as error:
        raise from_error(error, "prompt") from error
    finally:
        if len(generations) < len(prompts) * (body.n or 1):
            for generation in generations:
                generation.cancel()
    texts = _texts(llm, body, prompts)
    return _Prepared(f"cmpl-{uuid.uuid4().hex}", int(time.time()), body, prompts, texts, generations, warnings, timings)


def _prompts(llm: LLM, body: CompletionBody) -> list[list[int]]:
    """Each prompt as ids."""
    entries: list[Any] = body.prompt if _is_list_of_prompts(body.prompt) else [body.prompt]
    if not 1 <= len(entries) <= MAX_PROMPTS:
        raise Problem(400, f"prompt: give 1 to {MAX_PROMPTS} prompts", code="invalid_value", param="prompt")
    return [_ids(llm, entry, body.suffix) for entry in entries]


def _is_list_of_prompts(prompt: Any) -> bool:
    return isinstance(prompt, list) and not all(type(entry) is int for entry in prompt)


def _ids(llm: LLM, entry: Any, suffix: str | None) -> list[int]:
    if isinstance(entry, str):
        if suffix is None:
            return llm.encode(entry)
        fim = llm.tokenizer.fim
        if fim is None:
            raise Problem(
                400,
                f"suffix: {llm.name} has no tokens to fill in the middle with",
                code="invalid_value",
                param="suffix",
            )
        return fim.prompt(llm.tokenizer, entry, suffix)
    if suffix is not None:
        raise Problem(400, "suffix needs a prompt of text", code="invalid_value", param="suffix")
    if isinstance(entry, list) and entry and all(type(id_) is int for id_ in entry):
        bad = next((id_ for id_ in entry if not 0 <= id_ < llm.vocab_size), None)
        if bad is not None:
            raise Problem(
                400, f"prompt: {bad} is no token id of {llm.name}, which has {llm.vocab_size}", code="invalid_value",
                param="prompt",
            )  # fmt: skip
        return list(entry)
    raise Problem(400, "prompt: give a text, token ids, or a list of either", code="invalid_type", param="prompt")


def _texts(llm: LLM, body: CompletionBody, prompts: list[list[int]]) -> list[str]:
    """The prompts as text, where they are echoed."""
    if not body.echo:
        return [""] * len(prompts)
    if isinstance(body.prompt, str):
        return [body.prompt]
    given = body.prompt if _is_list_of_prompts(body.prompt) else [body.prompt]
    return [
        entry if isinstance(entry, str) else llm.tokenizer.decode(ids)
        for entry, ids in zip(given, prompts, strict=True)
    ]


async def _whole(llm: LLM, prepared: _Prepared, settings: Settings) -> Json:
    count = len(prepared.generations)
    texts = [prepared.texts[prepared.prompt_of(index)] for index in range(count)]
    tokens: list[list[TokenOut]] = [[] for _ in range(count)]
    reasons: list[str | None] = [None] * count
    async for news in pieces(prepared.generations, settings.keep_alive_seconds, prepared.timings):
        if news is not None:
            index, delta = news
            texts[index] += delta.text
            tokens[index] += delta.tokens
            reasons[index] = delta.finish_reason or reasons[index]
    choices = []
    for index in range(count):
        logprobs = None
        if prepared.body.logprobs is not None:
            writer = PlainLogprobs(llm.tokenizer)
            scored = tokens[index] + _end(prepared, index)
            logprobs = writer.of([*_echoed(prepared, index), *((out.token, out.logprob, out.top) for out in scored)])
        choices.append({"index": index, "text": texts[index], "finish_reason": reasons[index], "logprobs": logprobs})
    return _object(llm, prepared, choices) | {"usage": _usage(prepared)}


def _echoed(prepared: _Prepared, index: int) -> list[tuple[int, float | None, Sequence[tuple[int, float]] | None]]:
    """The prompt's tokens with their log probabilities; nothing predicts the first."""
    if not prepared.body.echo:
        return []
    ids = prepared.prompts[prepared.prompt_of(index)]
    scores = prepared.generations[index].prompt_logprobs or [None] * len(ids)
    return [
        (id_, None, None) if score is None else (id_, score[0], score[1])
        for id_, score in zip(ids, scores, strict=True)
    ]


def _end(prepared: _Prepared, index: int) -> list[TokenOut]:
    """The token that ended the text: scored like the others, as clients that sum up scores expect (lm-eval)."""
    end = prepared.generations[index].end
    return [] if end is None else [end]


def _usage(prepared: _Prepared) -> Json:
    return total_usage(prepared.generations[:: prepared.body.n or 1], prepared.generations)


def _object(llm: LLM, prepared: _Prepared, choices: list[Json]) -> Json:
    found: Json = {
        "id": prepared.id,
        "object": "text_completion",
        "created": prepared.created,
        "model": llm.name,
        "choices": choices,
        "system_fingerprint": None,
    }
    return found | ({"warnings": prepared.warnings} if prepared.warnings else {})


async def _chunks(llm: LLM, prepared: _Prepared, idle_seconds: float) -> AsyncIterator[Json | None]:
    options = prepared.body.stream_options
    wants_usage = options is not None and options.include_usage
    writers = [PlainLogprobs(llm.tokenizer) for _ in prepared.generations]
    begun = [False] * len(prepared.generations)

    def chunk(index: int, text: str, reason: str | None, logprobs: Json | None) -> Json:
        choice = {"index": index, "text": text, "finish_reason": reason, "logprobs": logprobs}
        found = _object(llm, prepared, [choice])
        return found | {"usage": None} if wants_usage else found

    def said(index: int, delta: Delta) -> Json:
        scored = [*delta.tokens, *(_end(prepared, index) if delta.finish_reason is not None else [])]
        text, entries = delta.text, [(out.token, out.logprob, out.top) for out in scored]
        if prepared.body.echo and not begun[index]:
            text = prepared.texts[prepared.prompt_of(index)] + text
            entries = [*_echoed(prepared, index), *entries]  # type: ignore[list-item]
        begun[index] = True
        logprobs = writers[index].of(entries) if prepared.body.logprobs is not None else None
        return chunk(index, text, delta.finish_reason, logprobs)

    stream = pieces(prepared.generations, idle_seconds, prepared.timings)
    try:
        async for news in stream:
            yield None if news is None else said(*news)
    finally:
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
    if wants_usage:
        yield _object(llm, prepared, []) | {"usage": _usage(prepared)}

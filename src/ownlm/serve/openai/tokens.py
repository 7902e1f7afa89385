"""POST /tokenize and POST /detokenize: the model's own tokens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ownlm.engine.llm import LLM
from ownlm.serve.openai.body import check_chat, check_model, known_messages, unknown_fields
from ownlm.serve.openai.schema import DetokenizeBody, TokenizeBody
from ownlm.serve.problem import Problem
from ownlm.serve.settings import Settings
from ownlm.serve.work import Gate


def router(llm: LLM, settings: Settings, gate: Gate) -> APIRouter:
    """The routes, bound to a model."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> dict[str, Any]:
        """The ids of a text or of a conversation, and how many the model can hold."""
        warnings = unknown_fields(body, settings.lenient)
        check_model(body.model, llm)
        if (body.prompt is None) == (body.messages is None):
            raise Problem(400, "give prompt or messages", code="invalid_value", param="prompt")
        ids = await gate.run(_ids, llm, body)
        found = {"tokens": ids, "count": len(ids), "max_model_len": llm.context}
        return found | ({"warnings": warnings} if warnings else {})

    @routes.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> dict[str, Any]:
        """The text of ids."""
        warnings = unknown_fields(body, settings.lenient)
        check_model(body.model, llm)
        bad = next((id_ for id_ in body.tokens if not 0 <= id_ < llm.vocab_size), None)
        if bad is not None:
            raise Problem(400, f"tokens: {bad} is no token id of {llm.name}", code="invalid_value", param="tokens")
        found: dict[str, Any] = {"prompt": llm.tokenizer.decode(body.tokens)}
        return found | ({"warnings": warnings} if warnings else {})

    return routes


def _ids(llm: LLM, body: TokenizeBody) -> list[int]:
    if body.messages is not None:
        check_chat(llm)
        return list(llm.render(known_messages(body.messages)).ids)
    assert body.prompt is not None
    return llm.tokenizer.encode(body.prompt, add_special=body.add_special_tokens)

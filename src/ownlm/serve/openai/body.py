"""A body's settings in the engine's terms, and what of it is not understood."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ownlm.engine.grammar import Grammar
from ownlm.engine.llm import LLM
from ownlm.serve.openai.schema import SamplingBody
from ownlm.serve.openai.schema_parts import Open
from ownlm.serve.problem import Problem
from ownlm.tokenizer.message import FIELDS

_PLAIN = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed",
    "stop_token_ids", "ignore_eos", "min_tokens", "max_tokens",
)  # fmt: skip


def check_model(given: str | None, llm: LLM) -> None:
    """404 for another model's name."""
    if given is not None and given != llm.name:
        raise Problem(404, f"The model {given!r} is not here; {llm.name!r} is", code="model_not_found", param="model")


def unknown_fields(body: Open, lenient: bool) -> list[str]:
    """Warnings about fields that are not understood; without ``lenient`` the first is refused."""
    messages = getattr(body, "messages", None) or []
    inside = [f"messages[{index}].{name}" for index, message in enumerate(messages) for name in message.keys() - FIELDS]
    names = sorted([*_unknown(body, ""), *inside])
    if names and not lenient:
        raise Problem(400, f"Unknown parameter: {names[0]}", code="unknown_parameter", param=names[0])
    return [f"{name} is not understood here and was left aside" for name in names]


def check_chat(llm: LLM) -> None:
    """400 for messages to a model that only continues text."""
    if llm.chat_template is None:
        raise Problem(
            400,
            f"{llm.name} has no chat template: it continues text (/v1/completions), or give it one in its folder",
            code="no_chat_template",
            param="messages",
        )


def known_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without fields that are not understood: those are in the warnings."""
    return [{name: value for name, value in message.items() if name in FIELDS} for message in messages]


def _unknown(value: Any, at: str) -> list[str]:
    if isinstance(value, list):
        return [name for index, item in enumerate(value) for name in _unknown(item, f"{at}[{index}]")]
    if not isinstance(value, BaseModel):
        return []
    found = [_join(at, name) for name in value.unknown] if isinstance(value, Open) else []
    for field in type(value).model_fields:
        found += _unknown(getattr(value, field), _join(at, field.rstrip("_")))
    return found


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def sampling(body: SamplingBody) -> dict[str, Any]:
    """Settings of ``SamplingParams`` that the body names; the others keep the model's defaults."""
    found = {name: value for name in _PLAIN if (value := getattr(body, name)) is not None}
    if body.stop is not None:
        found["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if body.logit_bias is not None:
        if not all(key.isascii() and key.isdigit() for key in body.logit_bias):
            raise Problem(400, "logit_bias: its keys are token ids", code="invalid_value", param="logit_bias")
        found["logit_bias"] = {int(key): value for key, value in body.logit_bias.items()}
    if body.grammar is not None and body.regex is not None:
        raise Problem(400, "grammar and regex are both given: give one", code="invalid_value", param="grammar")
    if body.grammar is not None:
        found["grammar"] = Grammar.lark(body.grammar)
    if body.regex is not None:
        found["grammar"] = Grammar.regex(body.regex)
    return found

"""What one chat answer may look like: a thought, a text, calls, JSON; the grammar for it and what takes it apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ownlm.engine.grammar import Grammar
from ownlm.engine.llm import LLM
from ownlm.serve.openai import channels
from ownlm.serve.openai.channels import ChannelParser
from ownlm.serve.openai.reasoning import CLOSE, OPEN, Reasoning, Thoughts, reasoning_of
from ownlm.serve.openai.schema import ChatBody
from ownlm.serve.openai.schema_parts import Function, NamedTool
from ownlm.serve.openai.spelling import Spelling, spelling_of
from ownlm.serve.openai.tools import Choice, Part, Reader, rules
from ownlm.serve.problem import Problem


@dataclass(frozen=True, slots=True)
class Form:
    """``names`` are of the functions that may be called. ``marked``: special tokens are part of the spelling.
    ``channels``: gpt-oss's way, where ``reasoning`` and ``spelling`` say nothing."""

    reasoning: Reasoning | None
    spelling: Spelling
    names: tuple[str, ...] = ()
    choice: Choice = "auto"
    marked: bool = False
    channels: bool = False

    def parser(self) -> Parser | ChannelParser:
        """A new one, for one answer."""
        return ChannelParser() if self.channels else Parser(self)


class Parser:
    """Takes an answer apart, piece by piece."""

    def __init__(self, form: Form) -> None:
        self._thoughts = Thoughts(form.reasoning)
        self._reader = Reader(form.spelling, form.names, form.choice) if form.names else None

    @property
    def called(self) -> bool:
        """Whether a call has begun."""
        return self._reader is not None and bool(self._reader.calls)

    def push(self, piece: str, *, last: bool = False) -> list[Part]:
        """The parts that a piece completes; ``last``: no more comes."""
        thought, text = self._thoughts.push(piece, last=last)
        parts = [Part(reasoning=thought)] if thought else []
        if self._reader is not None:
            return parts + self._reader.push(text, last=last)
        return parts + ([Part(text=text)] if text else [])


def form_of(llm: LLM, body: ChatBody, prompt: str, given: Grammar | None) -> tuple[Form, Grammar | None]:
    """How this request's answer is spelled, and the grammar for it, if it needs one.

    ``prompt``: the conversation as it was rendered. ``given``: a grammar that the request brings along.
    """
    template = "" if llm.chat_template is None else llm.chat_template.source(tools=bool(wanted(body)))
    reasoning, spelling = reasoning_of(template, prompt), spelling_of(template)
    special = _special(llm, spelling)
    schema = _schema(body)
    functions, choice = _functions(body)
    if given is not None and (functions or schema is not None):
        raise Problem(400, "grammar and regex cannot be together with tools or response_format",
                      code="invalid_value", param="grammar")  # fmt: skip
    tools = [(name, function.parameters) for name, function in functions.items()]
    if channels.writes_channels(template):
        form = Form(None, spelling, tuple(functions), choice, marked=True, channels=True)
        answer = given if schema is None else Grammar.json_schema(schema)
        free = answer is None and not functions
        return form, None if free else channels.grammar(tools, choice, answer, special)
    form = Form(reasoning, spelling, tuple(functions), choice, any(mark not in channels.MARKS for mark in special))
    if not functions:
        answer = given if schema is None else Grammar.json_schema(schema)
        if answer is None or reasoning is None:
            return form, answer
        return form, Grammar.lark(f"{reasoning.start(special)}\nmessage: {answer.lark_rule()}")
    if schema is not None and not spelling.mark and choice == "auto":
        raise Problem(
            400,
            f"response_format and tools: {llm.name} writes a call as a bare JSON object, which could as well be the "
            "answer: set tool_choice to required or none",
            code="invalid_value",
            param="response_format",
        )
    begins = OPEN if reasoning is not None and not reasoning.begun else ""
    source = rules(
        spelling,
        tools,
        choice,
        parallel=body.parallel_tool_calls is not False and not isinstance(body.tool_choice, NamedTool),
        answer=schema,
        special=special,
        not_first=begins,
    )
    start = "start: message" if reasoning is None else reasoning.start(special)
    return form, Grammar.lark(f"{start}\n{source}")


def wanted(body: ChatBody) -> list[dict[str, Any]] | None:
    """The tools that the model is told of."""
    if not body.tools or body.tool_choice == "none":
        return None
    return [tool.model_dump(exclude_none=True) for tool in body.tools]


def _special(llm: LLM, spelling: Spelling) -> Mapping[str, int]:
    """Those of the model's special tokens that answers are spelled with."""
    tokenizer = llm.tokenizer
    spelled = (spelling.begin, spelling.opening(""), spelling.close, spelling.between or "", spelling.end)
    texts = (*spelled, OPEN, CLOSE, *channels.MARKS)
    found = {text: id_ for id_ in tokenizer.special_ids if (text := tokenizer.token(id_))}
    return {text: id_ for text, id_ in found.items() if any(text in part for part in texts)}


def _schema(body: ChatBody) -> dict[str, Any] | bool | None:
    """The schema that the answer's text must meet."""
    form = body.response_format
    if form is None or form.type == "text":
        return None
    return {"type": "object"} if form.json_schema is None else form.json_schema.schema_


def _functions(body: ChatBody) -> tuple[dict[str, Function], Choice]:
    """The functions that may be called, and whether one must be."""
    if not body.tools or body.tool_choice == "none":
        return {}, "auto"
    functions = {tool.function.name: tool.function for tool in body.tools}
    if len(functions) < len(body.tools):
        raise Problem(400, "two tools have the same name", code="invalid_value", param="tools")
    if not isinstance(body.tool_choice, NamedTool):
        return functions, "required" if body.tool_choice == "required" else "auto"
    name = body.tool_choice.function.name
    if name not in functions:
        raise Problem(400, f"tool_choice names {name!r}, which is no tool", code="invalid_value", param="tool_choice")
    return {name: functions[name]}, "required"

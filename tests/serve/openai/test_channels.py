"""gpt-oss's channels: the grammar admits its answers, and the parser takes them apart."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import tokenizer_kinds
from answer_fixtures import CLOCK, HELLO, WEATHER, saying
from chat_templates import GPT_OSS
from openai_fixtures import serving_llm

from llm_fakes import noise_llm
from ownlm import LLM
from ownlm.engine.grammar import Grammar
from ownlm.serve.openai.answer_form import form_of
from ownlm.serve.openai.channels import ChannelParser, grammar, writes_channels
from ownlm.serve.openai.schema import ChatBody

THOUGHT = "<|channel|>analysis<|message|>Rome < surely.<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>"
CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "<|"}'
OTHER_WAY = ' to=functions.weather<|channel|>commentary json<|message|>{"city": "<|"}'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    folder = tmp_path_factory.mktemp("oss")
    tokenizer_kinds.byte_level(folder, control=[*tokenizer_kinds.CHAT, "<|constrain|>"])
    with noise_llm(folder) as llm:
        yield llm


def admits(llm: LLM, found: Grammar, text: str) -> bool:
    matcher = llm.compile_grammar(found).matcher()
    return all(matcher.accept(id_) for id_ in llm.tokenizer.encode(text)) and matcher.satisfied


def special(llm: LLM) -> dict[str, int]:
    return {llm.tokenizer.token(id_): id_ for id_ in llm.tokenizer.special_ids}


@pytest.mark.parametrize("thought", ["", THOUGHT], ids=["", "thinks"])
def test_the_grammar_admits_answers_and_nothing_else(llm: LLM, thought: str) -> None:
    call = thought + CALL
    free = grammar([("weather", CITY)], "auto", None, special(llm))
    assert admits(llm, free, f"{thought}{FINAL}Hello") and admits(llm, free, call)
    assert not admits(llm, free, "Hello") and not admits(llm, free, call + "x")
    assert not admits(llm, free, call.replace("weather", "other"))
    must = grammar([("weather", CITY)], "required", None, special(llm))
    assert admits(llm, must, call) and not admits(llm, must, f"{thought}{FINAL}Hello")
    json = grammar([], "auto", Grammar.json_schema({"type": "object", "required": ["a"]}), special(llm))
    assert admits(llm, json, thought + FINAL + '{"a": 1}') and not admits(llm, json, thought + FINAL + "{}")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (THOUGHT + FINAL + "It is < sunny.", ("Rome < surely.", "It is < sunny.", [])),
        (FINAL + "Hi", ("", "Hi", [])),
        (THOUGHT + CALL, ("Rome < surely.", "", [("weather", '{"city": "<|"}')])),
        (THOUGHT + OTHER_WAY, ("Rome < surely.", "", [("weather", '{"city": "<|"}')])),
        ("<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant" + CALL,
         ("", "Let me look.", [("weather", '{"city": "<|"}')])),
        ("Plain <|en", ("", "Plain <|en", [])),
        ("<|channel|>analysis<|message|>cut <|", ("cut <|", "", [])),
    ],
)  # fmt: skip
def test_answers_are_taken_apart_however_they_come(answer: str, expected: object, size: int) -> None:
    parser, thought, text = ChannelParser(), "", ""
    calls: dict[int, list[str]] = {}
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    for index, piece in enumerate(pieces):
        for part in parser.push(piece, last=index == len(pieces) - 1):
            thought, text = thought + part.reasoning, text + part.text
            if part.call is not None:
                calls[part.index] = [part.call.name, ""]
            if part.arguments:
                calls[part.index][1] += part.arguments
    assert (thought, text, [tuple(call) for call in calls.values()]) == expected
    assert parser.called == bool(calls)


def test_the_family_s_own_template_is_known(tmp_path) -> None:
    assert writes_channels(GPT_OSS)
    tokenizer_kinds.byte_level(tmp_path, control=[*tokenizer_kinds.CHAT, "<|constrain|>"])
    body = ChatBody.model_validate({"model": "echo", "messages": HELLO, "tools": [CLOCK, WEATHER]})
    llm, _ = saying(tmp_path, "", GPT_OSS)
    with llm:
        form, found = form_of(llm, body, "<|start|>assistant", None)
        assert form.channels and form.marked and found is not None
        assert admits(llm, found, FINAL + "Hello")
        assert form_of(llm, ChatBody.model_validate({"model": "echo", "messages": HELLO}), "", None)[1] is None


MARKED = (
    "{# <|channel|> <|message|> <|start|> tools #}"
    "{% for message in messages %}{{ message.content }}{% endfor %}<|im_start|>"
)


@pytest.mark.parametrize("tools", [None, [WEATHER]], ids=["", "tools"])
def test_over_the_wire(tmp_path, tools: object) -> None:
    tokenizer_kinds.byte_level(tmp_path, control=[*tokenizer_kinds.CHAT, "<|constrain|>"])
    said = THOUGHT + (CALL if tools else f"{FINAL}It is sunny.")
    llm, _ = saying(tmp_path, said, MARKED)
    body = {"model": "echo", "messages": HELLO, "tools": tools, "max_tokens": 300}
    with llm, serving_llm(llm) as served:
        choice = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60).json()["choices"][0]
    message = choice["message"]
    assert message["reasoning_content"] == "Rome < surely."
    if tools:
        assert message["content"] is None and choice["finish_reason"] == "tool_calls"
        assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "<|"}'}
    else:
        assert message["content"] == "It is sunny." and choice["finish_reason"] == "stop"

"""Thoughts, texts and calls over the wire: a model that says exactly what it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from answer_fixtures import CLOCK, HELLO, WEATHER, saying
from openai_fixtures import serving_llm

from llm_fakes import noise_llm

CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("echo")


def answers(folder: Path, text: str, **settings: Any) -> Iterator[tuple[Any, list[Any]]]:
    """The same answer whole and in chunks, by the real client."""
    with saying(folder, text)[0] as llm, serving_llm(llm) as served:
        client = openai.OpenAI(base_url=served.base, api_key="none", max_retries=0, timeout=60)
        ask = {"model": "echo", "messages": HELLO, "temperature": 0} | settings
        yield client.chat.completions.create(**ask), list(client.chat.completions.create(**ask, stream=True))


@pytest.mark.parametrize("thought", ["", "<think>\nRome, surely <tool_ca.\n</think>\n\n"], ids=["", "thinks"])
@pytest.mark.parametrize("said", ["", "Let me look.\n"], ids=["", "says"])
def test_a_text_then_calls(folder: Path, thought: str, said: str) -> None:
    for whole, chunks in answers(folder, thought + said + CALLS, tools=[WEATHER, CLOCK]):
        message = whole.choices[0].message
        assert [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls] == [
            ("weather", {"city": "Rome"}), ("clock", {}),
        ]  # fmt: skip
        assert message.content == (said or None) and whole.choices[0].finish_reason == "tool_calls"
        assert getattr(message, "reasoning_content", "") == thought.removeprefix("<think>").partition("</think>")[0]
        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert "".join(delta.content or "" for delta in deltas) == said
        assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == getattr(
            message, "reasoning_content", ""
        )
        found: dict[int, str] = {}
        for call in (call for delta in deltas for call in delta.tool_calls or []):
            assert (call.id is None) == (call.index in found) == (call.function.name is None)
            found[call.index] = found.get(call.index, "") + call.function.arguments
        assert found == {0: '{"city": "Rome"}', 1: "{}"}
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]


def test_json_behind_a_thought_is_nothing_but_json(folder: Path) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": ["a"]}}}
    for whole, _ in answers(folder, '<think>\n{ hm</think>\n\n{"a": 1}', response_format=form):
        message = whole.choices[0].message
        assert (message.content, message.reasoning_content) == ('{"a": 1}', "\n{ hm")


def test_without_tools_a_call_is_text(folder: Path) -> None:
    for whole, _ in answers(folder, CALLS, tools=[WEATHER, CLOCK], tool_choice="none"):
        assert whole.choices[0].message.content == CALLS and whole.choices[0].message.tool_calls is None
    for whole, _ in answers(folder, "<think>a", max_tokens=60):
        assert whole.choices[0].message.content == "" and whole.choices[0].message.reasoning_content == "a"


def test_one_call_where_calls_may_not_be_parallel(folder: Path) -> None:
    for whole, _ in answers(folder, CALLS, tools=[WEATHER, CLOCK], parallel_tool_calls=False):
        assert [call.function.name for call in whole.choices[0].message.tool_calls] == ["weather"]


def test_what_a_template_would_pass_over(tmp_path: Path) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "clock", "arguments": "{}"}}]}
    with noise_llm(tmp_path) as llm, serving_llm(llm) as served:
        url, body = f"{served.base}/chat/completions", {"model": "noise", "messages": HELLO, "max_tokens": 3}
        found = httpx.post(url, json=body | {"messages": [*HELLO, called]}, timeout=60)
        assert found.status_code == 400 and found.json()["error"]["param"] == "messages[1].tool_calls"
        assert "warnings" not in httpx.post(url, json=body | {"tools": [CLOCK]}, timeout=60).json()
    with saying(tmp_path, "x", "{# no t-ools #}<|im_start|>")[0] as llm, serving_llm(llm) as served:
        body = {"model": "echo", "messages": HELLO, "tools": [CLOCK]}
        (warning,) = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60).json()["warnings"]
        assert "does not tell the model of tools" in warning


def test_a_model_that_only_continues_text_says_so(tmp_path: Path) -> None:
    with noise_llm(tmp_path, chat=False) as llm, serving_llm(llm) as served:
        for path, body in (("/v1/chat/completions", {"model": "noise"}), ("/tokenize", {})):
            found = httpx.post(f"{served.url}{path}", json=body | {"messages": HELLO}, timeout=60)
            assert found.status_code == 400 and found.json()["error"]["code"] == "no_chat_template"
        body = {"model": "noise", "prompt": "Hello", "max_tokens": 3}
        assert httpx.post(f"{served.base}/completions", json=body, timeout=60).status_code == 200


def test_a_message_s_unknown_fields_are_named(folder: Path) -> None:
    body = {"model": "echo", "messages": [HELLO[0] | {"mood": "good"}]}
    with saying(folder, "Yes")[0] as llm:
        with serving_llm(llm) as served:
            found = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60).json()["error"]
            assert (found["param"], found["code"]) == ("messages[0].mood", "unknown_parameter")
            assert httpx.post(f"{served.base}/chat/completions", json=body | {
                "messages": HELLO, "reasoning_effort": None}, timeout=60).status_code == 200  # fmt: skip
        with serving_llm(llm, lenient=True) as served:
            found = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60).json()
            assert "messages[0].mood" in found["warnings"][0]
            assert found["choices"][0]["message"]["content"] == "Yes"


def test_a_full_line_is_told_to_come_back(folder: Path) -> None:
    model, runner = saying(folder, "", max_running=1, max_waiting=1)
    body = {"model": "echo", "messages": HELLO, "stream": True}
    with model as llm, serving_llm(llm) as served:
        client = openai.OpenAI(base_url=served.base, api_key="none", max_retries=3, timeout=60)
        runner.gate.clear()
        first, second = (client.chat.completions.create(**body) for _ in range(2))
        refused = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60)
        while refused.status_code == 200:  # the first was not taken up yet
            refused = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        runner.gate.set()
        assert len(list(first)) + len(list(second)) >= 4

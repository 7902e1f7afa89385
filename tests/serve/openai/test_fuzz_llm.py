"""Whatever is sent to a model's routes, the server answers, in its one shape of errors, and never with a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_fixtures import serving_llm

from llm_fakes import noise_llm
from ownlm.serve.openai.schema import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody

ROUTES = {"/v1/chat/completions": ChatBody, "/v1/completions": CompletionBody, "/tokenize": TokenizeBody,
          "/detokenize": DetokenizeBody}  # fmt: skip
DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
HALF = "\ud800"  # half of a surrogate pair: JSON can spell it, text cannot hold it
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([HALF, 10**30, -1, "auto", "required", "json_object", "text", DEEP, {"type": "json_schema"}])
)  # fmt: skip
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "developer", HALF, "x"]), "content": values},
        optional={"tool_calls": values, "name": values, "tool_call_id": values, "surprise": values},
    )
    | values,
    max_size=3,
)
schemas = st.recursive(
    st.sampled_from([True, False, {}, {"type": "string"}, {"enum": [HALF]}, {"$ref": "#"}, {"pattern": "("}, DEEP]),
    lambda inner: st.fixed_dictionaries({}, optional={
        "type": st.sampled_from(["object", "array", "null", 7]),
        "properties": st.dictionaries(st.text(max_size=4), inner),
        "items": inner, "anyOf": st.lists(inner, max_size=2), "required": st.lists(st.text(max_size=4), max_size=2),
        "maxLength": st.integers(-1, 9), "minItems": st.integers(0, 10**9),
    }),
    max_leaves=6,
)  # fmt: skip
tools = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "function": st.fixed_dictionaries(
        {"name": st.sampled_from(["f", "g", "a.b-c", 'x"', ""])},
        optional={"parameters": schemas | values, "strict": values},
    )}), max_size=3,
)  # fmt: skip
forms = st.fixed_dictionaries(
    {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"schema": schemas})}
) | st.just({"type": "json_object"})
likely = {"messages": messages, "tools": tools, "response_format": forms, "stream": st.booleans(),
          "prompt": st.text(max_size=9) | st.lists(st.integers(0, 900), max_size=4), "regex": st.text(max_size=9),
          "grammar": st.sampled_from(["start: /a+/", "start: start", "start: x", "", HALF])}  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with noise_llm(tmp_path_factory.mktemp("noise")) as llm, serving_llm(llm) as served:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            yield client
        assert served.llm.stats().counters.failed == 0


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, Any]:
    path = draw(st.sampled_from(list(ROUTES)))
    names = list(ROUTES[path].model_fields)
    body: dict[str, Any] = {"model": "noise", "max_tokens": 3}
    if "messages" in names:
        body["messages"] = [{"role": "user", "content": "Hello"}]
    if path == "/v1/completions":
        body["prompt"] = "Hello"
    if path.endswith("tokenize"):
        body = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        body[name] = draw(likely[name] | values if name in likely else values)
    return path, body


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies())
def test_any_body(client: httpx.Client, sent: tuple[str, Any]) -> None:
    path, body = sent
    response = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    elif response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n") and '"error"' not in response.text


NESTED: Any = 1
for _ in range(80):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": f"a{HALF}"}]},
        {"stop": HALF},
        {"regex": HALF},
        {"grammar": f'start: "{HALF}"'},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": [HALF]}}}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {HALF: {}}}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"not": NESTED}}}]},
        {"chat_template_kwargs": {"x": NESTED}},
        {"chat_template_kwargs": {"messages": []}},
        {"chat_template_kwargs": {"self": 1}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}] * 9000}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        {"temperature": float("nan")},
        {"seed": 10**30},
    ],
)
def test_what_no_model_can_read(client: httpx.Client, change: dict[str, Any]) -> None:
    body = {"model": "noise", "max_tokens": 3, "messages": [{"role": "user", "content": "Hello"}]} | change
    response = client.post(
        "/v1/chat/completions", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert response.status_code == 400 and len(response.text) < 1500, response.text


def test_an_assistant_that_said_nothing(client: httpx.Client) -> None:
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None}]
    plain = [said[0], {"role": "assistant", "content": ""}]
    tokens = client.post("/tokenize", json={"messages": plain}).json()["count"]
    body = {"model": "noise", "max_tokens": 3, "messages": said}
    assert client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens"] == tokens

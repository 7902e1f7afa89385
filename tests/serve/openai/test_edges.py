"""What goes wrong, what is not understood, and what many clients do at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai_fixtures import PLAIN_TEMPLATE, Served, make_model, run_server

from ownlm.serve.openai.spelling import PLAIN, TAGGED, spelling_of
from ownlm.serve.openai.tools import Reader

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"model": "tiny", "messages": HELLO, "max_tokens": 4}


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def error(response: httpx.Response, status: int) -> dict[str, object]:
    found = response.json()["error"]
    assert response.status_code == status and set(found) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    return found


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"stream": True, "stream_options": {"include_everything": True}}, "stream_options.include_everything"),
        ({"tools": [{"type": "function", "function": {"name": "f", "colour": 1}}]}, "tools[0].function.colour"),
    ],
)
def test_unknown_fields_are_refused_or_named(http, lenient: Served, extra: dict[str, object], param: str) -> None:
    found = error(http.post("/v1/chat/completions", json=CHAT | extra), 400)
    assert (found["code"], found["param"]) == ("unknown_parameter", param)
    if "stream" not in extra:
        answer = httpx.post(f"{lenient.base}/chat/completions", json=CHAT | extra, timeout=60).json()
        assert param in answer["warnings"][0]


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, None),
        ({"top_logprobs": 3}, None),
        ({"tool_choice": "required"}, None),
        ({"stream_options": {"include_usage": True}}, None),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "mood": "good"}]}, None),
        ({"regex": "("}, None),
        ({"grammar": "start: x", "regex": "x"}, "grammar"),
        ({"store": True}, "store"),
        ({"stop": ["x"] * 17}, None),
    ],
)
def test_values_that_cannot_be(http, extra: dict[str, object], param: str | None) -> None:
    found = error(http.post("/v1/chat/completions", json=CHAT | extra), 400)
    assert found["type"] == "invalid_request_error" and (param is None or param in str(found["param"]))


def test_another_models_name(http) -> None:
    assert error(http.post("/v1/chat/completions", json=CHAT | {"model": "gpt-4o"}), 404)["code"] == "model_not_found"


def test_a_template_that_raises_and_one_that_loops(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tiny", "{{ raise_exception('No system messages, please') }}")
    for served in run_server(folder):
        found = error(httpx.post(f"{served.base}/chat/completions", json=CHAT, timeout=60), 400)
        assert "No system messages, please" in str(found["message"])
        assert (
            httpx.post(f"{served.base}/completions", json={"model": "tiny", "prompt": "x"}, timeout=60).status_code
            == 200
        )


def test_tokens_there_and_back(http) -> None:
    there = http.post("/tokenize", json={"prompt": "The thin gate"}).json()
    assert there["count"] == len(there["tokens"]) and there["max_model_len"] == 1024
    assert http.post("/detokenize", json={"tokens": there["tokens"]}).json()["prompt"] == "The thin gate"
    chat = http.post("/tokenize", json={"messages": HELLO}).json()
    assert http.post("/detokenize", json={"tokens": chat["tokens"]}).json()["prompt"].endswith("<|assistant|>")
    error(http.post("/tokenize", json={}), 400)
    error(http.post("/detokenize", json={"tokens": [10**6]}), 400)


def test_metrics_are_what_prometheus_reads(http) -> None:
    """Read by Prometheus' own client; what one request adds is what it did."""
    parser = pytest.importorskip("prometheus_client.parser")

    def values() -> dict[str, float]:
        response = http.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = list(parser.text_string_to_metric_families(response.text))
        assert all(family.type in ("counter", "gauge", "histogram") and family.documentation for family in families)
        return {
            sample.name + str(sample.labels.get("le", "")): sample.value
            for family in families
            for sample in family.samples
        }

    before = values()
    http.post("/v1/chat/completions", json=CHAT | {"ignore_eos": True})
    after = values()
    gained = {name: value - before[name] for name, value in after.items()}
    assert gained["ownlm_generated_tokens_total"] == 4 and gained["ownlm_submitted_total"] == 1
    for name in ("time_to_first_token_seconds", "time_per_output_token_seconds", "answer_seconds"):
        assert gained[f"ownlm_{name}_count"] == gained[f"ownlm_{name}_bucket+Inf"] == 1
        assert 0 <= gained[f"ownlm_{name}_sum"] < 60
    assert (
        after["ownlm_blocks_free"] + after["ownlm_blocks_cached"] + after["ownlm_blocks_used"]
        == after["ownlm_blocks_total"]
    )


def test_a_body_of_50_megabytes(http) -> None:
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "' + b"a" * 50_000_000
    with contextlib.suppress(httpx.TransportError):  # hung up on while it was still sending
        assert error(http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"}), 413)
    assert http.get("/health").status_code == 200


def test_the_guard_stands_before_these_routes_too(http) -> None:
    error(http.post("/v1/chat/completions", json=CHAT, headers={"origin": "https://evil.example"}), 403)
    error(http.post("/v1/chat/completions", json=CHAT, headers={"host": "evil.example"}), 421)
    assert http.post("/v1/completions", content="{}", headers={"content-type": "text/plain"}).status_code in (400, 415)


def test_a_thousand_at_once(served: Served) -> None:
    """Each is answered; none gets another's text."""
    limits = httpx.Limits(max_connections=100)
    want: dict[int, str] = {}
    with httpx.Client(base_url=served.url, timeout=120, limits=limits) as client:

        def ask(index: int) -> tuple[int, str]:
            body = {"model": "tiny", "prompt": f"Number {index % 10}", "max_tokens": 3, "temperature": 0}
            found = client.post("/v1/completions", json=body)
            assert found.status_code == 200, found.text
            return index % 10, found.json()["choices"][0]["text"]

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            for which, text in pool.map(ask, range(1000)):
                assert want.setdefault(which, text) == text


def settled(served: Served) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        stats = served.llm.stats()
        if not stats.running and not stats.waiting and not stats.blocks_used:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_request(served: Served, stream: bool) -> None:
    before = served.llm.stats().counters.cancelled
    body = json.dumps(CHAT | {"max_tokens": 900, "ignore_eos": True, "stream": stream}).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        )  # fmt: skip
        if stream:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200") and b"data: " in connection.recv(4096)
        else:
            time.sleep(0.2)
    assert settled(served)
    assert served.llm.stats().counters.cancelled > before or not stream


def test_comments_keep_the_line_open(served: Served) -> None:
    """Keep-alive comments come while nothing else does: here the engine's thread is held up."""
    gate = threading.Event()
    step = served.llm.engine._stepper.step if hasattr(served.llm.engine, "_stepper") else None
    if step is None:
        pytest.skip("the engine has no stepper to hold up")

    def held() -> object:
        gate.wait(10)
        return step()

    served.llm.engine._stepper.step = held  # type: ignore[method-assign]
    try:
        with httpx.stream(
            "POST", f"{served.base}/chat/completions", json=CHAT | {"stream": True}, timeout=60
        ) as response:
            lines = response.iter_lines()
            for line in lines:
                if line.startswith(":"):
                    gate.set()
                    break
            rest = list(lines)
        assert rest[-2] == "data: [DONE]"
    finally:
        gate.set()
        served.llm.engine._stepper.step = step  # type: ignore[method-assign]


def pushed(reader: Reader, text: str, size: int) -> tuple[str, list[tuple[str, str]]]:
    said = ""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for index, piece in enumerate(pieces):
        said += "".join(part.text for part in reader.push(piece, last=index == len(pieces) - 1))
    return said, [(call.name, call.arguments) for call in reader.calls]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_calls_are_read_however_they_come(size: int) -> None:
    arguments = '{"city": "}\\"{[ <tool_call>\\n", "n": [{"a": 1}]}'
    call = f'<tool_call>\n{{"name": "weather", "arguments": {arguments}}}\n</tool_call>'
    other = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
    names = ["weather", "clock"]
    assert pushed(Reader(TAGGED, names, "auto"), f"Let me see: <tool\n{call}\n{other}", size) == (
        "Let me see: <tool\n", [("weather", arguments), ("clock", "{}")],
    )  # fmt: skip
    assert pushed(Reader(TAGGED, names, "auto"), "No <tool_calls here <tool_cal", size) == (
        "No <tool_calls here <tool_cal",
        [],
    )
    plain = '{"name": "clock", "parameters": {"a": {}}}'
    assert pushed(Reader(PLAIN, names, "auto"), plain, size) == ("", [("clock", '{"a": {}}')])
    assert pushed(Reader(PLAIN, names, "auto"), f"I say {plain}", size) == (f"I say {plain}", [])


def test_the_template_says_how_calls_are_spelled(tmp_path: Path) -> None:
    assert spelling_of(PLAIN_TEMPLATE) is PLAIN and spelling_of("... <tool_call> ...") is TAGGED
    folder = make_model(tmp_path / "tiny", PLAIN_TEMPLATE)
    clock = {"type": "function", "function": {"name": "clock"}}
    for served in run_server(folder):
        body = CHAT | {"tools": [clock], "tool_choice": "required", "max_tokens": 100}
        found = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60).json()["choices"][0]
        called = found["message"]["tool_calls"][0]["function"]
        assert (called["name"], json.loads(called["arguments"])) == ("clock", {})

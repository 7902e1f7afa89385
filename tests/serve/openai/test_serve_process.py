"""``ownlm serve`` as a user runs it: a real process, a real checkpoint, the native kernels, the real client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tiny_llm import write_tiny_llm

HELLO = [{"role": "user", "content": "Hello"}]
LONG = {"messages": HELLO, "max_tokens": 400, "extra_body": {"ignore_eos": True}}
KEY = "a-key-of-some-length"


class Process:
    """``ownlm serve`` over a tiny model."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "ownlm", "serve", "--model", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OWNLM_THREADS": "1"}
        )
        assert self.process.stdout and self.process.stderr
        self.base = self.process.stdout.readline().strip()
        assert self.base.endswith("/v1"), self.process.stderr.read()

        self.url = self.base.removesuffix("/v1")

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.base, api_key=key, max_retries=0, timeout=60)

    def model(self, client: openai.OpenAI) -> str:
        return client.models.list().data[0].id

    def end(self, number: int = signal.SIGTERM) -> str:
        """What it said on its way out."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=60)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "tiny"
    write_tiny_llm(path)
    return path


@pytest.fixture
def process(folder: Path) -> Iterator[Process]:
    found = Process(folder)
    yield found
    found.end()


def test_it_serves(process: Process) -> None:
    client = process.client()
    ask = {"model": process.model(client), "messages": HELLO, "max_tokens": 20, "temperature": 0}
    whole = client.chat.completions.create(**ask)
    chunks = client.chat.completions.create(**ask, stream=True)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == whole.choices[0].message.content and whole.usage.completion_tokens >= 1
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    assert client.chat.completions.create(**ask, response_format=form).choices[0].message.content in ('"yes"', '"no"')
    said = process.end(signal.SIGTERM)
    assert process.process.returncode == 0 and "Traceback" not in said
    assert "512 tokens of context" in said


def test_its_options(folder: Path) -> None:
    process = Process(folder, "--api-key", KEY, "--context", "64", "--lenient", "--name", "gpt-4o")
    try:
        with pytest.raises(openai.AuthenticationError):
            process.client().models.list()
        for route in ("/metrics", "/v1/models", "/openapi.json"):
            assert httpx.get(process.url + route).status_code == 401
        client = process.client(KEY)
        model = process.model(client)
        assert model == "gpt-4o"
        with pytest.raises(openai.BadRequestError, match="64"):
            client.completions.create(model=model, prompt="one two three " * 40)
        found = client.completions.create(model=model, prompt="one", max_tokens=2, extra_body={"colour": "green"})
        assert "colour" in found.model_extra["warnings"][0]  # type: ignore[index]
        headers = httpx.get(process.url + "/metrics", headers={"x-api-key": KEY}).headers
        assert headers["cache-control"] == "no-store"
    finally:
        said = process.end()
    assert KEY not in said


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--host", "0.0.0.0"], "--api-key"),
        (["--api-key", "short"], "at least 8"),
        (["--context", "100000"], "100000"),
        (["--name", " "], "--name"),
        (["--max-running", "0"], "max_running"),
        (["--model", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_what_it_cannot_do_it_says_in_one_line(folder: Path, options: list[str], word: str) -> None:
    command = [sys.executable, "-m", "ownlm", "serve", "--model", str(folder), "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and word in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_a_stream_finish(process: Process, end: signal.Signals) -> None:
    client = process.client()
    stream = client.chat.completions.create(model=process.model(client), stream=True, **LONG)
    reasons = []
    for count, chunk in enumerate(stream):
        if count == 3:
            process.process.send_signal(end)
        reasons.append(chunk.choices[0].finish_reason)
    assert reasons[-1] == "length"
    said = process.process.communicate(timeout=60)[1]
    assert process.process.returncode == 0 and "Traceback" not in said


def leave(process: Process, model: str, stream: bool) -> None:
    """Ask, and hang up before the answer is whole."""
    asked = {"model": model, "stream": stream, "messages": HELLO, "max_tokens": 400, "ignore_eos": True}
    body = json.dumps(asked).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(process.url.rpartition(":")[2]))) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if stream:
            connection.recv(100)
        else:
            time.sleep(0.05)


def metrics(process: Process) -> dict[str, float]:
    """Those without labels."""
    lines = httpx.get(f"{process.url}/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


def test_clients_that_leave_leave_nothing_behind(process: Process) -> None:
    model = process.model(process.client())
    leaving = [threading.Thread(target=leave, args=(process, model, stream)) for stream in (True, False) * 10]
    for thread in leaving:
        thread.start()
    for thread in leaving:
        thread.join()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = metrics(process)
        if found["ownlm_running"] == found["ownlm_waiting"] == found["ownlm_blocks_used"] == 0:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(found)
    assert found["ownlm_cancelled_total"] >= 10 and found["ownlm_failed_total"] == 0
    said = process.end()
    assert "Traceback" not in said and "rror" not in said, said

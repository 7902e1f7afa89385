"""Many clients at once, before a real process: all are served, a crowd beyond that is told when to come back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai_fixtures import serving_llm

from llm_fakes import EchoRunner, echo_llm
from ownlm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.serve.descriptors import allow_many

TESTS = Path(__file__).parents[2]
CLIENTS = 1000
SCRIPT = """
import pathlib, sys, tempfile
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tokenizer"]
if sys.platform != "win32":
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from llm_fakes import noise_llm
from ownlm.serve.run import serve
from ownlm.serve.settings import Settings

with noise_llm(pathlib.Path(tempfile.mkdtemp())) as llm:
    serve(None, Settings(port=0), llm=llm, on_ready=lambda url: print(url, flush=True))
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a process that began with 256 open files, as macOS gives them."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(TESTS)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


async def stream(port: int, number: int) -> tuple[float, str]:
    """Seconds to the first text, and the text, of one streamed chat."""
    body = {"model": "noise", "messages": [{"role": "user", "content": f"Number {number % 10}"}], "max_tokens": 8,
            "temperature": 0, "stream": True, "ignore_eos": True}  # fmt: skip
    sent = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"connection: close\r\ncontent-length: {len(sent)}\r\n\r\n"
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + sent)
    first, text, ended = 0.0, "", False
    async for line in reader:
        if line.startswith(b"HTTP/1.1"):
            assert b" 200 " in line, line
        if line.startswith(b"data: {"):
            piece = json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            first = first or (time.monotonic() - begun if piece else 0.0)
            text += piece
        ended |= line.startswith(b"data: [DONE]")
    writer.close()
    assert ended
    return first, text


def test_a_thousand_streams_at_once(url: str) -> None:
    allow_many()

    async def all_of_them() -> list[tuple[float, str]]:
        port = int(url.rpartition(":")[2])
        return await asyncio.gather(*(stream(port, number) for number in range(CLIENTS)))

    begun = time.monotonic()
    found = asyncio.run(all_of_them())
    seconds, firsts = time.monotonic() - begun, sorted(first for first, _ in found)
    print(f"{seconds:.1f} s; first text after {firsts[CLIENTS // 2]:.1f} s (median), {firsts[-50]:.1f} s (p95)")
    for number, (_, text) in enumerate(found):
        assert text == found[number % 10][1]
    metrics = dict(line.split() for line in httpx.get(f"{url}/metrics").text.splitlines() if not line.startswith("#"))
    assert float(metrics["ownlm_finished_total"]) == CLIENTS and float(metrics["ownlm_failed_total"]) == 0
    assert float(metrics["ownlm_generated_tokens_total"]) == 8 * CLIENTS
    assert float(metrics["ownlm_blocks_used"]) == float(metrics["ownlm_running"]) == 0


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[openai.OpenAI, EchoRunner]]:
    """A client of a model that computes for one at a time, lets one more wait, and is held up at its gate."""
    whole, runner = echo_llm(tmp_path, "Hello there")
    parts = Loaded(name="echo", runner=runner, tokenizer=whole.tokenizer, chat_template=whole.chat_template)
    whole.close()
    runner.gate.clear()
    with LLM.of(parts, max_running=1, max_waiting=1) as llm, serving_llm(llm) as served:
        yield openai.OpenAI(base_url=served.base, api_key="none", max_retries=0), runner
        runner.gate.set()


def test_one_too_many_is_told_when_to_come_back(crowded: tuple[openai.OpenAI, EchoRunner]) -> None:
    client, runner = crowded
    ask = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
    streams = []
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(4):
            streams.append(client.chat.completions.create(**ask, stream=True))
    refused = caught.value.response
    assert int(refused.headers["retry-after"]) >= 1 and refused.headers["x-request-id"]
    assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
    assert caught.value.code == "rate_limit_exceeded"
    threading.Timer(0.5, runner.gate.set).start()
    # The client waits as long as it was told, and is served.
    again = client.with_options(max_retries=2).chat.completions.create(**ask)
    assert again.choices[0].message.content == "Hello there"
    assert len(streams) >= 1
    for each in streams:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in each) == "Hello there"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files")
def test_a_process_asks_for_more_open_files() -> None:
    program = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, min(4096, r.getrlimit(r.RLIMIT_NOFILE)[1])))\n"
        "from ownlm.serve.descriptors import allow_many; allow_many(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    soft, hard = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert soft == hard

"""Serving as a process: where it listens, what it says when it cannot, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from ownlm.errors import InvalidSetting
from ownlm.serve.run import address, bind
from ownlm.serve.settings import Settings

SCRIPT = """
import sys, tempfile, pathlib
sys.path.insert(0, sys.argv[1])
from serve.conftest import small_library
from ownlm.serve.run import serve
from ownlm.serve.settings import Settings

library = small_library(pathlib.Path(tempfile.mkdtemp()))
library.delay = float(sys.argv[2])
serve(library, Settings(port=0, drain_seconds=int(sys.argv[3])), on_ready=lambda url: print(url, flush=True))
print("closed", library.finished, flush=True)
"""


def start(delay: float, drain: int = 10) -> tuple[subprocess.Popen[str], str]:
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", SCRIPT, tests, str(delay), str(drain)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_what_was_begun(end: signal.Signals) -> None:
    process, url = start(delay=1.5)
    begun = threading.Event()
    lines: list[str] = []

    def ask() -> None:
        with httpx.stream("POST", f"{url}/api/ask", json={"question": "lost key"}, timeout=20) as response:
            for line in response.iter_lines():
                lines.append(line)
                begun.set()

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(10)
    process.send_signal(end)
    with pytest.raises(httpx.TransportError):  # refused, or let into the backlog a moment before and then hung up on
        while asking.is_alive():
            httpx.get(f"{url}/health")
    asking.join()
    out, err = process.communicate(timeout=10)
    assert "event: done" in lines and "40 pounds" in "".join(lines)
    assert (process.returncode, out.strip(), err) == (0, "closed 1", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_with_nothing_to_do_ends_at_once() -> None:
    process, url = start(delay=0)
    with httpx.Client(base_url=url) as client:
        assert client.get("/health").json() == {"status": "ok"}
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert time.monotonic() - before < 8 and process.returncode == 0 and out.strip() == "closed 0" and err == ""


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidSetting, match=f"--port is {port}: another program uses it"):
            bind(Settings(port=port))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(InvalidSetting, match="--host"):
        bind(Settings(host="192.0.2.1", port=0, api_key="correct-horse"))


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(InvalidSetting, match="--host"):
        bind(Settings(host="no-such-host.invalid", port=0, api_key="correct-horse"))


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "127.0.0.1")]
)
def test_the_address_is_one_that_a_browser_can_open(host: str, shown: str) -> None:
    settings = Settings(host=host, port=0, api_key="correct-horse")
    with bind(settings) as listener:
        assert address(listener, settings) == f"http://{shown}:{listener.getsockname()[1]}"

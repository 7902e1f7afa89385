"""Commands on a GPU: what it does is measured, and a model is served from there."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ownlm.cli import main
from tiny_llm import write_tiny_llm

torch = pytest.importorskip("torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("command", ["serve", "chat", "bench"])
def test_a_gpu_that_is_not_there_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    model = write_tiny_llm(tmp_path / "tiny")
    words = [str(model)] if command == "bench" else ["--model", str(model)]
    port = ["--port", "0"] if command == "serve" else []
    small = ["--prompt", "32", "--tokens", "4"] if command == "bench" else []
    assert main([command, *words, *port, *small, "--device", "cuda"]) == 2
    assert "use the CPU" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_bench_measures_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_llm(tmp_path / "tiny")
    words = ["--rounds", "1", "--prompt", "32", "--tokens", "4", "--streams", "2", "--rows", "2", "--device", "cuda"]
    assert main(["bench", str(model), *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(figure["median"] > 0 for figure in found["figures"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_serve_answers_from_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ownlm", "serve", "--model", str(write_tiny_llm(tmp_path / "tiny"))]
    with subprocess.Popen(
        [*command, "--port", "0", "--device", "cuda", "--no-kv-store"], stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            address = served.stdout.readline().strip()
            body = json.dumps({"model": "tiny", "prompt": "the fox", "max_tokens": 4}).encode()
            request = urllib.request.Request(f"{address}/completions", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["usage"]["completion_tokens"] >= 1
        finally:
            served.terminate()

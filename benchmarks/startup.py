"""Time from starting ``ownlm serve`` to the first token of a short prompt, by HTTP, and what the server then holds.

    python benchmarks/startup.py MODEL [--runs 5] [--cold]

The request is sent as soon as the port accepts it, while the server is still loading. With ``--cold`` the pages of the
model's files are dropped from the page cache before each run (POSIX_FADV_DONTNEED; clean pages only), so that they come
from the disk. Resident memory is compared with the weights' and the cache's bytes. A first run, which may pack the
weights, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ownlm.engine.loading import load
from ownlm.hub.packed import all_packed

PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Run:
    """Seconds from the start of the process; bytes resident after the answer."""

    accepted: float
    first_token: float
    resident: int
    peak: int


def main() -> None:
    """Print each run and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--cache-tokens", type=int, default=2048)
    options = parser.parse_args()
    files = [*_files(options.model)]
    weights, cache = _held(options.model, options.cache_tokens)
    runs = []
    for number in range(options.runs + 1):
        if options.cold and number:
            drop(_files(options.model))
        run = measure(options.model, options.cache_tokens)
        print(
            f"{'first, not counted' if not number else f'run {number}'}: port {run.accepted:.2f} s, "
            f"first token {run.first_token:.2f} s, resident {run.resident / 1e6:.0f} MB, "
            f"peak {run.peak / 1e6:.0f} MB, beyond weights and cache {(run.resident - weights - cache) / 1e6:.0f} MB",
            flush=True,
        )
        if number:
            runs.append(run)
    print(
        f"median of {len(runs)}: {statistics.median(run.first_token for run in runs):.3f} s to the first token "
        f"({'cold' if options.cold else 'warm'}); weights {weights / 1e6:.0f} MB, cache {cache / 1e6:.0f} MB; "
        f"files {', '.join(file.name for file in files)}"
    )


def _files(model: Path) -> list[Path]:
    own = [model] if model.is_file() else sorted(model.glob("*.safetensors"))
    return own + all_packed(model)


def _held(model: Path, cache_tokens: int) -> tuple[int, int]:
    """Bytes of the weights as they are prepared, and of the cache; in a process of its own, which then is gone."""
    told = subprocess.run(
        [sys.executable, __file__, "--held", str(model), str(cache_tokens)], check=True, capture_output=True, text=True
    )
    weights, cache = json.loads(told.stdout.splitlines()[-1])
    return weights, cache


def held(model: str, cache_tokens: str) -> None:
    """Print what ``_held`` reads; writes the packed weights if they are not there yet."""
    from ownlm.model import checkpoint
    from ownlm.model.decoder_families import decoder_config
    from ownlm.model.footprint import footprint

    path = Path(model)
    loaded = load(path, context=None, cache_tokens=int(cache_tokens), ops="native", head="rescored", on_progress=None)
    if loaded.writing is not None:
        loaded.writing.finish()
    files = checkpoint.load(path, verify=False)
    taken = footprint(decoder_config(files.config(), path), files.tensors, "native", "rescored")
    runner = loaded.runner
    print(json.dumps([taken.weights, runner.block_bytes * runner.blocks]))


def drop(files: list[Path]) -> None:
    """Let the page cache forget files."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(model: Path, cache_tokens: int) -> Run:
    """One start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "ownlm", "serve", "--model", str(model), "--port", str(port), "--cache-tokens",
         str(cache_tokens)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        connection = _connected(port, server)
        accepted = time.perf_counter() - began
        body = json.dumps({"model": "any", "prompt": PROMPT, "max_tokens": 1, "stream": True}).encode()
        name = model.resolve().stem if model.is_file() else model.resolve().name
        body = body.replace(b'"any"', json.dumps(name).encode())
        head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        found = b""
        while not re.search(rb'data: \{[^\n]*"text"', found):
            part = connection.recv(65536)
            if not part:
                raise SystemExit(f"the server closed the connection: {found[:400]!r}")
            found += part
        first = time.perf_counter() - began
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident, peak = (1024 * int(re.findall(rf"{key}:\s+(\d+)", status)[0]) for key in ("VmRSS", "VmHWM"))
        connection.close()
        return Run(accepted, first, resident, peak)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _connected(port: int, server: subprocess.Popen[bytes]) -> socket.socket:
    while server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.002)
    raise SystemExit(f"the server ended: {server.stderr.read().decode() if server.stderr else ''}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--held"]:
        held(*sys.argv[2:])
    else:
        main()

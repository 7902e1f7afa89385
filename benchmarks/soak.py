"""Hours of use in minutes: a server under full load, its memory and its accounts watched.

    python benchmarks/soak.py [--minutes 20] [--model M] [--clients 8] [--seed 1] [-- OPTIONS OF ownlm serve]

Starts ``ownlm serve`` as a user would, and lets clients ask at random: streams read to their end, streams left in the
middle, prompts that nearly fill the context, several answers to a prompt, new JSON schemas, documents to quote from
(whose words are foreseen), log probabilities, requests that are wrong. Every 10 seconds it prints the server's
resident memory (its own, and mapped files), what it did, and the blocks of its cache, which must add up. At the end,
with nobody there any more, no block may be in use, and its own memory must have been flat: the slope of a straight line
through the second half, times the whole time, is at most 2 % of it, or 8 MB. Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

INTERVAL = 10.0
SHARE, LEAST = 0.02, 8.0  # of memory, and MB: what counts as flat
WORDS = (
    *("mill", "key", "lost", "oil", "wood", "fire", "night", "bell", "glue", "saw"),
    *("kiln", "oak", "receipt", "member", "chair", "window", "path", "rent", "door", "cup"),
)


def megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of a process: its own, and pages of mapped files, which the system takes back when it likes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    own, files = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, files


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line through (minutes, MB): MB a minute."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


class Client(threading.Thread):
    """Asks one thing after the other until it is told to stop."""

    def __init__(self, url: str, context: int, seed: int, done: Counter[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=120)
        self._context, self._chance, self._done, self._stopped = context, random.Random(seed), done, stop
        self.wrong: str | None = None

    def run(self) -> None:
        kinds = [self.whole, self.left, self.long, self.several, self.schema, self.quotation, self.scored, self.mistake]
        while not self._stopped.is_set() and self.wrong is None:
            kind = self._chance.choice(kinds)
            try:
                status = kind()
            except httpx.HTTPError as error:
                status = f"{type(error).__name__}: {error}"
            if status != (400 if kind == self.mistake else 200):
                self.wrong = f"{kind.__name__}: {status}"
            self._done[kind.__name__] += 1

    def words(self, count: int) -> str:
        return " ".join(self._chance.choices(WORDS, k=count))

    def whole(self) -> int | str:
        return self._stream(None)

    def left(self) -> int | str:
        return self._stream(self._chance.randint(1, 6))

    def long(self) -> int | str:
        prompt = f"{self._chance.random()} {self.words(self._context // 2)}"
        return self._post("completions", {"prompt": prompt, "max_tokens": 8})

    def several(self) -> int | str:
        return self._chat({"n": 3, "max_tokens": 40, "temperature": 1.0}, self.words(30))

    def schema(self) -> int | str:
        names = [f"{self._chance.choice(WORDS)}{self._chance.randrange(1000)}" for _ in range(3)]
        values = {name: {"enum": self._chance.sample(WORDS, 4)} for name in names}
        schema = {"type": "object", "properties": values, "required": names, "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return self._chat({"response_format": form, "max_tokens": 200}, "Answer.")

    def quotation(self) -> int | str:
        document = random.Random(self._chance.randrange(5)).choices(WORDS, k=self._context // 8)
        asked = f"{' '.join(document)}\n\nSay again the words from the {self._chance.randrange(50)}th on."
        return self._chat({"max_tokens": 100, "temperature": 0}, asked)

    def scored(self) -> int | str:
        return self._chat({"logprobs": True, "top_logprobs": 3, "max_tokens": 30}, self.words(10))

    def mistake(self) -> int | str:
        return self._chat({"temperature": -1}, "Hello.")

    def _chat(self, body: dict[str, Any], asked: str) -> int:
        return self._post("chat/completions", {"messages": [{"role": "user", "content": asked}], **body})

    def _post(self, path: str, body: dict[str, Any]) -> int:
        return self._http.post(path, json={"model": "soak", **body}).status_code

    def _stream(self, most: int | None) -> int:
        messages = [{"role": "user", "content": self.words(self._chance.randint(3, 120))}]
        body = {"model": "soak", "messages": messages, "stream": True, "max_tokens": self._chance.randint(8, 160)}
        with self._http.stream("POST", "chat/completions", json=body) as response:
            for number, _ in enumerate(response.iter_lines()):
                if number == most:
                    break
            return response.status_code


def metrics(http: httpx.Client) -> dict[str, float]:
    """The server's counters and gauges, by name."""
    lines = http.get("/metrics").text.splitlines()
    found = (re.fullmatch(r"ownlm_(\w+) ([\d.e+-]+)", line) for line in lines)
    return {match[1].removesuffix("_total"): float(match[2]) for match in found if match}


def watch(http: httpx.Client, pid: int, end: float, clients: list[Client]) -> list[tuple[float, float]]:
    """Print a line every 10 seconds; (minutes, MB) of each. Exits with what is wrong."""
    began, points = time.monotonic(), []
    print(
        "minutes      MB   files  requests  cancelled   tokens  drafted  stood  running  waiting"
        "  blocks: free cached used"
    )
    while time.monotonic() < end:
        time.sleep(INTERVAL)
        found, minutes = metrics(http), (time.monotonic() - began) / 60
        own, files = megabytes(pid)
        points.append((minutes, own))
        print(
            f"{minutes:7.1f} {own:7.1f} {files:7.1f} {found['submitted']:9.0f} {found['cancelled']:10.0f}"
            f" {found['generated_tokens']:8.0f} {found['drafted_tokens']:8.0f} {found['accepted_tokens']:6.0f}"
            f" {found['running']:8.0f} {found['waiting']:8.0f}"
            f" {found['blocks_free']:14.0f} {found['blocks_cached']:6.0f} {found['blocks_used']:4.0f}",
            flush=True,
        )
        parts = sum(found[f"blocks_{name}"] for name in ("free", "cached", "used"))
        wrong = [client.wrong for client in clients if client.wrong]
        if parts != found["blocks"] or found["audit_failures"] or wrong:
            sys.exit(f"the accounts do not add up, or an answer was wrong: {wrong or found}")
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--model", help="by default the one that ships")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="further options of ownlm serve, after --")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "ownlm", "serve", "--port", "0", "--name", "soak", *arguments.options]
    command += ["--model", arguments.model] if arguments.model else []
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        http = httpx.Client(base_url=url.removesuffix("/v1"), timeout=60)
        context = http.get("/v1/models").json()["data"][0].get("context_length", 1024)
        done: Counter[str] = Counter()
        stop = threading.Event()
        seeds = range(arguments.seed * 1000, arguments.seed * 1000 + arguments.clients)
        clients = [Client(url, context, seed, done, stop) for seed in seeds]
        for client in clients:
            client.start()
        points = watch(http, server.pid, time.monotonic() + 60 * arguments.minutes, clients)
        stop.set()
        for client in clients:
            client.join(120)
        time.sleep(2)
        left = metrics(http)
        rising = slope(points[len(points) // 2 :])
        grown, memory = rising * arguments.minutes, points[-1][1]
        print(json.dumps(done))
        failed, used = left["audit_failures"], left["blocks_used"]
        print(f"audits that failed: {failed:.0f}; blocks in use with nobody there: {used:.0f}")
        print(
            f"memory in the second half: {rising:+.3f} MB a minute, or {grown:+.1f} MB in {arguments.minutes:g} minutes"
        )
        flat = grown <= max(LEAST, SHARE * memory)
        print("flat" if flat else "NOT flat")
        if not flat or used or failed:
            sys.exit(1)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()

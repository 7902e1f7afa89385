"""Our whole stack beside llama.cpp, in one run: prefill, decode, and several streams, on models with random weights.

    OWNLM_LLAMA_CPP=/path/to/python python benchmarks/cpu_engine.py [--model qwen2.5-0.5b] [--threads 2] [--rounds 5]

Both read the same GGUF file: Q4_0 matrices, an 8-bit table that is the head too, in the shapes of Qwen2.5-0.5B and
Llama-3.2-1B. Ours runs as a user runs it: scheduler, block manager, paged cache, sampler, detokenizer, a thread that
reads the pieces. llama.cpp runs through its C API, greedy, without any of that. Rounds alternate between the two, so
that what else the machine does meets both; figures are medians over rounds, ratios are medians of the rounds' ratios.

Prefill is the time from the request to its first token, of a prompt that no cache knows; decode begins at its depth.
"Python and dispatch" is the part of a token's time in which no step of the plan runs.
``OWNLM_LLAMA_CPP`` names a Python that has llama-cpp-python; without it our figures stand alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ownlm import native
from ownlm.engine.llm import LLM
from ownlm.engine.loading import load
from random_gguf import SHAPES, write_random

STREAMS = 8


@dataclass(frozen=True)
class Rates:
    """Tokens a second."""

    prefill: float
    decode: float
    streams: float


class Ours:
    """The model as ``ownlm.LLM`` loads it."""

    def __init__(self, path: Path, prompt: int, new: int) -> None:
        context = prompt + new + 16
        self.loaded = load(
            path, context=context, cache_tokens=2 * prompt + STREAMS * (new + 32), ops="native", on_progress=None
        )
        self.llm = LLM.of(self.loaded, speculate="off")  # random weights fall into loops, which it would foresee
        self.plan = self.loaded.runner._step.__self__  # type: ignore[attr-defined]

    def run(self, prompt: list[int], new: int, streams: int) -> tuple[float, float]:
        """(seconds to the first token, tokens a second afterwards)."""
        params = self.llm.params(max_tokens=new + 1, temperature=0.0, ignore_eos=True)
        came = threading.Event()
        start = time.perf_counter()
        answers = self.llm.start(prompt, params, streams)
        for answer in answers:
            answer.notify(came.set)
        first = counted = 0.0
        while not all(answer.done for answer in answers):
            came.wait()
            came.clear()
            for answer in answers:
                answer.poll()
            if not first and all(answer.completion_tokens for answer in answers):
                first, counted = time.perf_counter(), sum(answer.completion_tokens for answer in answers)
        rest = sum(answer.completion_tokens for answer in answers) - counted
        return first - start, rest / (time.perf_counter() - first)

    def outside(self, prompt: list[int], new: int) -> float:
        """The share of a decoded token's time in which no step runs."""
        params = self.llm.params(max_tokens=new, temperature=0.0, ignore_eos=True)
        answer = iter(self.llm.start(prompt, params)[0])
        next(answer)
        self.plan.measure()
        start = time.perf_counter()
        for _ in answer:
            pass
        whole = time.perf_counter() - start
        inside = sum(seconds for _, seconds in self.plan.seconds())
        self.plan.measure(False)
        return 1 - inside / whole


class Theirs:
    """llama.cpp in a process of its own."""

    def __init__(self, python: str, path: Path, threads: int, context: int) -> None:
        script = Path(__file__).with_name("llama_cpp_side.py")
        command = [python, str(script), str(path), str(threads), str(context), str(STREAMS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("llama.cpp's side ended: see above")
        return line

    def run(self, prompt: list[int], new: int, streams: int) -> tuple[float, float]:
        """As ours, but the first token's own way out is not in it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompt": prompt, "new": new, "sequences": streams}) + "\n")
        self.process.stdin.flush()
        found = json.loads(self._line())
        return found["prefill"][0], streams * new / sum(found["steps"])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(side: Ours | Theirs, prompt: list[int], new: int) -> Rates:
    """One round: a prompt and what follows it, then the same in several streams."""
    prefill, decode = side.run(prompt, new, 1)
    _, streams = side.run(prompt[::-1], new // 2, STREAMS)
    return Rates(len(prompt) / prefill, decode, streams)


def report(name: str, rounds: dict[str, list[Rates]]) -> None:
    """Medians, and the medians of ratios within rounds."""
    print(f"\n{name:28}{'prefill':>10}{'decode':>10}{f'{STREAMS} streams':>12}   tokens/s")
    fields = ("prefill", "decode", "streams")
    for side, rates in rounds.items():
        print(f"{side:28}" + "".join(f"{statistics.median(getattr(r, f) for r in rates):10.1f}" for f in fields))
    if len(rounds) == 2:
        ours, theirs = rounds.values()
        pairs = list(zip(ours, theirs, strict=True))
        ratios = [statistics.median(getattr(a, f) / getattr(b, f) for a, b in pairs) for f in fields]
        print(f"{'ratio':28}" + "".join(f"{ratio:9.2f}x" for ratio in ratios))
    ratio = statistics.median(r.streams / r.decode for r in rounds["ownlm"])
    print(f"{STREAMS} streams give {ratio:.2f} times the tokens of one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, action="append", help="only this one; may be repeated")
    parser.add_argument("--threads", type=int, default=native.threads(), help="of each side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="a folder for the model files, used again if they are there")
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    python = os.environ.get("OWNLM_LLAMA_CPP", "")
    if not python:
        print("OWNLM_LLAMA_CPP is not set: without llama.cpp", file=sys.stderr)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        for name in arguments.model or SHAPES:
            path = folder / f"{name}.gguf"
            if not path.exists():
                write_random(path, SHAPES[name])
            ours = Ours(path, arguments.prompt, arguments.new)
            sides: dict[str, Ours | Theirs] = {"ownlm": ours}
            if python:
                sides["llama.cpp"] = Theirs(python, path, arguments.threads, arguments.prompt + arguments.new + 16)
            rounds: dict[str, list[Rates]] = {side: [] for side in sides}
            for number in range(arguments.rounds + 1):
                prompt = rng.integers(300, 20000, arguments.prompt).tolist()
                for label, side in sides.items():
                    rates = measure(side, prompt, arguments.new)
                    if number:  # the first is for warming up
                        rounds[label].append(rates)
                        print(f"{name} round {number} {label}: {rates}", file=sys.stderr, flush=True)
            report(f"{name}, {arguments.threads} threads, {native.isa()}", rounds)
            share = ours.outside(rng.integers(300, 20000, arguments.prompt).tolist(), arguments.new)
            print(f"Python and dispatch: {share:.1%} of a token")
            ours.llm.close()
            for side in sides.values():
                if isinstance(side, Theirs):
                    side.close()


if __name__ == "__main__":
    main()

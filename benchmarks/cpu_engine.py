"""Our whole stack beside llama.cpp, onnxruntime-genai and OpenVINO, in one run, on models with random weights.

    export OWNLM_LLAMA_CPP=... OWNLM_ONNXRUNTIME=... OWNLM_OPENVINO=...    # a Python that has each peer
    python benchmarks/cpu_engine.py --keep FOLDER --json FILE [--only short|check|long] [--model llama-3.2-1b]
    python benchmarks/plot.py FILE            # docs/benchmarks.md and its picture

The shapes of Qwen2.5-0.5B, Llama-3.2-1B and Llama-2-7B in 4-bit groups of 32 with an 8-bit head (``shapes.py``). Ours
and llama.cpp read the same GGUF file; the other two get models of the same shapes from their own converters
(``peers/``). Each peer runs in a process of its own with the settings that were found best for it, greedy, without
tokenizer and sampler; ours runs as a user runs it: scheduler, paged cache, sampler, detokenizer. Rounds alternate
between all sides, so that what else the machine does meets all; figures are medians over rounds, ratios medians of the
rounds' ratios. The machine's memory bandwidth and int8 peak are measured in every round.

    short   a prompt of 512 tokens, decoding behind it, 8 streams behind it
    check   16 tokens in one step, with the logits of each, against one
    long    a prompt of 4096 tokens, and decoding behind 8192, with 8-bit keys and values where a side has them

``--only`` runs one part; each lasts less than 10 minutes. ``--json`` adds to what the file holds from other parts.
A side whose variable is not set is left out, and that is said. Peers' Pythons: see ``peers/``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine_sides import KINDS, Kind, Ours, Peer, open_side, random_ids
from ownlm import native
from ownlm.native import machine
from shapes import SHAPES

PARTS = ("short", "check", "long")
STREAMS, ROWS = 8, 16
DEPTH, LONG, DEEP = 512, 4096, 8192
LARGE = "llama-2-7b"
# Minutes each, where another peer is ahead of them in every figure; only if asked for with --side.
LEFT_OUT = {
    "onnxruntime-genai": [("long", "llama-3.2-1b"), ("long", LARGE), ("check", LARGE)],
    "openvino": [("check", LARGE)],
}
MACHINE = "machine"  # beside the sides: what it could do in each round
BUFFER = 256 << 20
ROUNDS = {"qwen2.5-0.5b": 5, "llama-3.2-1b": 5, LARGE: 2}

Found = dict[str, Any]
Rounds = dict[str, list[Found]]
Sides = dict[Kind, Ours | Peer]
Say = Callable[[str], None]


def short(name: str, sides: Sides, rounds: int, chance: np.random.Generator, say: Say) -> Rounds:
    """Prefill, decode and streams, side by side."""
    large = name == LARGE  # eight of its caches are gigabytes: only ours is asked
    new, few = (24, 8) if large else (48, 24)
    found: Rounds = {each: [] for each in (*(kind.name for kind in sides), MACHINE)}
    for number in range(rounds + 1):
        ids = random_ids(SHAPES[name], DEPTH, chance)
        before = limits()
        for kind, side in sides.items():
            if number == 0:  # for warming up
                side.prompt(ids[:64])
                side.more(4)
                continue
            rates = {"prefill": DEPTH / side.prompt(ids), "decode": side.more(new)}
            if kind.streams and (isinstance(side, Ours) or not large):
                side.prompt(ids if not isinstance(side, Ours) else ids[::-1], STREAMS)
                rates["streams"] = side.more(few)
            found[kind.name].append(rates)
            if len(found[MACHINE]) < number:
                found[MACHINE].append(mean(before, limits()))
            say(f"round {number} {kind.name}: " + ", ".join(f"{key} {rate:.1f}" for key, rate in rates.items()))
    return found


def check(name: str, sides: Sides, rounds: int, chance: np.random.Generator, say: Say) -> Rounds:
    """One row and sixteen."""
    found: Rounds = {each: [] for each in (*(kind.name for kind in sides), MACHINE)}
    ids = random_ids(SHAPES[name], DEPTH, chance)
    for side in sides.values():
        if isinstance(side, Ours):
            side.hold(ids)
        else:
            side.prompt(ids)
        side.check(ROWS, 2)
    for number in range(1, rounds + 1):
        found[MACHINE].append(limits())
        for kind, side in sides.items():
            ones, many = side.check(ROWS, 4)
            one, several = statistics.median(ones), statistics.median(many)
            found[kind.name].append({"one": one, "many": several, "cost": several / one})
            say(f"round {number} {kind.name}: {ROWS} rows cost {several / one:.2f} times one, {several * 1e3:.1f} ms")
    return found


def long(name: str, sides: Sides, rounds: int, chance: np.random.Generator, say: Say) -> Rounds:
    """A long prompt once, and decoding behind a longer one."""
    found: Rounds = {each: [] for each in (*(kind.name for kind in sides), MACHINE)}
    ids = random_ids(SHAPES[name], DEEP, chance)
    for kind, side in sides.items():
        side.prompt(ids[-64:])
        seconds = side.prompt(ids[:LONG])
        found[kind.name].append({"prefill": LONG / seconds})
        say(f"{kind.name}: {LONG / seconds:.1f} tokens/s of a prompt of {LONG}")
        side.extend(ids[LONG:])
    for number in range(1, rounds + 1):
        before = limits()
        for kind, side in sides.items():
            rate = side.more(24)
            found[kind.name].append({"decode": rate})
            if len(found[MACHINE]) < number:
                found[MACHINE].append(mean(before, limits()))
            say(f"round {number} {kind.name}: {rate:.1f} tokens/s behind {DEEP}")
    return found


def limits() -> Found:
    """The machine's, at this moment: other machines on the same memory come and go."""
    return {"bandwidth": machine.bandwidth(0.15, BUFFER), "int8": machine.products("int8", 0.1)}


def mean(before: Found, after: Found) -> Found:
    """What the machine could do around our own work."""
    return {key: (before[key] + after[key]) / 2 for key in before}


RUN = {"short": short, "check": check, "long": long}
CONTEXT = {"short": DEPTH + 128, "check": DEPTH + 512, "long": DEEP + 256}


def kinds_of(part: str, name: str, wanted: list[str] | None) -> list[Kind]:
    """The sides of a part that are there."""
    found = []
    for kind in KINDS:
        if wanted and kind.name not in wanted:
            continue
        if (part != "short" or name == LARGE) and kind.name in ("ownlm, exact head", "openvino, groups of 32"):
            continue  # heads and groups make a difference in "short", and none that matters in a large model
        if (part, name) in LEFT_OUT.get(kind.name, ()) and not wanted:
            print(f"{kind.name} is left out of {part} on {name}: --side asks for it", file=sys.stderr)
            continue
        if kind.variable and not kind.python:
            print(f"{kind.variable} is not set: without {kind.name}", file=sys.stderr)
            continue
        found.append(kind)
    return found


def run(part: str, name: str, folder: Path, arguments: argparse.Namespace) -> Found:
    """One part on one shape: every side's rounds, and the machine before and after."""

    def say(text: str) -> None:
        print(f"{name} {part} {text}", file=sys.stderr, flush=True)

    began = time.perf_counter()
    kinds = kinds_of(part, name, arguments.side)
    sides: Sides = {}
    try:
        for kind in kinds:
            several = part == "short" and (name != LARGE or not kind.variable)
            sides[kind] = open_side(
                kind, name, folder, threads=arguments.threads, context=CONTEXT[part],
                sequences=STREAMS if several else 1, deep=part == "long", all_rows=part == "check",
            )  # fmt: skip
        rounds = arguments.rounds or ROUNDS[name]
        found = RUN[part](name, sides, rounds, np.random.default_rng(0), say)
        operations = 2 * SHAPES[name].matrices
        more: Found = {}
        for kind, side in sides.items():
            if isinstance(side, Ours):
                operations = side.traffic.operations
                if part == "short" and kind.name == "ownlm":
                    more["outside"] = side.outside(48)
    finally:
        for side in sides.values():
            side.close()
    limit = medians(found[MACHINE])
    depth = {"short": DEPTH, "check": DEPTH, "long": DEEP}[part]
    return {
        "rounds": found,
        "bytes": {kind.name: kind.bytes(SHAPES[name], depth, part == "long") for kind in kinds},
        "operations": operations,
        "head_operations": 2 * SHAPES[name].vocabulary * SHAPES[name].hidden,
        "bandwidth": limit["bandwidth"],
        "int8": limit["int8"],
        "seconds": time.perf_counter() - began,
        **more,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument(
        "--side", choices=[k.name for k in KINDS], action="append", help="only this side; may be repeated"
    )
    parser.add_argument("--threads", type=int, default=native.threads(), help="of each side")
    parser.add_argument("--rounds", type=int, help=f"of each part; by default {ROUNDS}")
    parser.add_argument("--keep", type=Path, help="a folder for the model files, used again if they are there")
    parser.add_argument("--json", type=Path, help="write the figures there, beside those of other parts")
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    document: Found = {"parts": {}}
    if arguments.json and arguments.json.exists():
        document = json.loads(arguments.json.read_text())
    document |= {"processor": machine.processor(), "threads": arguments.threads, "isa": native.isa()}
    document["platform"] = f"{platform.system()} on {platform.machine()}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        for name in arguments.model or SHAPES:
            for part in arguments.only or PARTS:
                if part == "long" and name == LARGE and not arguments.model:
                    continue  # its keys and values alone are gigabytes, and minutes a side: only if asked for
                found = run(part, name, folder, arguments)
                document["parts"].setdefault(name, {})[part] = found
                print("\n".join(table(name, part, found)), flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def medians(rounds: list[Found]) -> dict[str, float]:
    """Of each figure over the rounds that have it."""
    keys = dict.fromkeys(key for found in rounds for key in found)
    return {key: statistics.median(found[key] for found in rounds if key in found) for key in keys}


def ratios(ours: list[Found], theirs: list[Found]) -> dict[str, float]:
    """Medians of the rounds' ratios, ours to theirs; for costs, which are better if low, theirs to ours."""
    found: dict[str, list[float]] = {}
    for a, b in zip(ours, theirs, strict=True):
        for key in a.keys() & b.keys():
            found.setdefault(key, []).append(b[key] / a[key] if key in ("cost", "one", "many") else a[key] / b[key])
    return {key: statistics.median(values) for key, values in found.items()}


def shares(figures: dict[str, float], found: Found, name: str, part: str) -> dict[str, float]:
    """Of what the machine can do: a decoded token's bytes of the bandwidth of that round, a prompt's operations of the
    int8 peak."""
    share = {}
    if "decode" in figures:
        rates = [each["decode"] for each in found["rounds"][name] if "decode" in each]
        limits = [each["bandwidth"] for each in found["rounds"][MACHINE]]
        each_round = (rate * found["bytes"][name] / most for rate, most in zip(rates, limits, strict=True))
        share["decode"] = statistics.median(each_round)
    if "prefill" in figures:
        tokens = LONG if part == "long" else DEPTH
        each = found["operations"] + found["head_operations"] / tokens
        share["prefill"] = figures["prefill"] * each / found["int8"]
    if "many" in figures:
        share["many"] = ROWS * (found["operations"] + found["head_operations"]) / figures["many"] / found["int8"]
    return share


def table(name: str, part: str, found: Found) -> list[str]:
    """A part for a person."""
    rounds: Rounds = {side: values for side, values in found["rounds"].items() if side != MACHINE}
    keys = list(dict.fromkeys(key for side in rounds.values() for each in side for key in each))
    lines = [
        "",
        f"{name}, {part}: memory {found['bandwidth'] / 1e9:.1f} GB/s, int8 {found['int8'] / 1e9:.0f} GOP/s, "
        f"{found['seconds']:.0f} s",
        f"{'':26}{'MB/token':>10}" + "".join(f"{key:>12}" for key in keys),
    ]
    for side, values in rounds.items():
        figures = medians(values)
        cells = "".join(f"{figures[key]:12.4g}" if key in figures else f"{'-':>12}" for key in keys)
        share = shares(figures, found, side, part)
        text = ", ".join(f"{key} {value:.2f}" for key, value in share.items())
        lines.append(f"{side:26}{found['bytes'][side] / 1e6:10.0f}{cells}   of the limit: {text}")
    first = next(iter(rounds))
    for side in list(rounds)[1:]:
        ratio = ratios(rounds[first], rounds[side])
        cells = "".join(f"{ratio[key]:11.2f}x" if key in ratio else f"{'':12}" for key in keys)
        lines.append(f"{first + ' to ' + side:36}{cells}")
    if part == "short" and "streams" in medians(rounds[first]):
        several = statistics.median(each["streams"] / each["decode"] for each in rounds[first])
        lines.append(f"{STREAMS} streams of {first} give {several:.2f} times the tokens of one")
    if "outside" in found:
        lines.append(f"Python and dispatch: {found['outside']:.1%} of a token")
    return lines


if __name__ == "__main__":
    main()

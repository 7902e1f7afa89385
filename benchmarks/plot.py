"""docs/benchmarks.md and its picture, from what cpu_engine.py wrote.

    python benchmarks/plot.py FILE [--to docs]      # a Python with matplotlib and no need of OwnLM

The text says nothing that is not in FILE: tables, ratios, and where we are behind.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

Found = dict[str, Any]
MACHINE, OURS = "machine", "ownlm"
ROWS, STREAMS = 16, 8
# (part, figure, what it is, whether more is better)
FIGURES = (
    ("short", "prefill", "prompt of 512, tokens/s", True),
    ("short", "decode", "decode behind 512, tokens/s", True),
    ("short", "streams", "8 streams behind 512, tokens/s", True),
    ("long", "prefill", "prompt of 4096, tokens/s", True),
    ("long", "decode", "decode behind 8192, 8-bit keys and values where a side has them, tokens/s", True),
    ("check", "cost", "16 tokens in one step, times one", False),
    ("check", "many", "16 tokens in one step, seconds", False),
)


_HEAD = """# Benchmarks

Made by `{source}`; this page and its picture by `benchmarks/plot.py` from the same
file. How sides are measured stands at the top of `benchmarks/cpu_engine.py`. In short: models with random weights in
known shapes, all sides in one run, rounds alternating, each peer at the settings that were found best for it; medians
over rounds, and medians of the rounds' ratios. Drafts are off, so that every token is computed. Ours is the whole stack
as a user runs it; peers run without tokenizer and sampler.

The machine: {processor}, {threads} threads, {platform}, instruction set {isa}. Its memory bandwidth and int8 peak are
measured in every round: in a virtual machine they move with what the neighbours do. A multiplication and an addition
count as two operations; those of attention are left out.

| side | weights | head | keys and values |
|---|---|---|---|
| ownlm | Q4_0, 4.5 bits | a 4-bit copy; leading logits again from the 8-bit rows | bf16; int8 at depth |
| ownlm, exact head | Q4_0, 4.5 bits | Q8_0, 8.5 bits | bf16 |
| llama.cpp | Q4_0, 4.5 bits, the same file | Q8_0, 8.5 bits | f16, flash attention; q8_0 was slower at any depth |
| onnxruntime-genai | int4 in groups of 32, float scales: 5 bits | int8, 9 bits | f32 |
| openvino, groups of 32 | int4, 4.5 bits; activations in groups of 32, too | int8, 8 bits | u8 |
| openvino | int4 in groups of 128, 4.1 bits; activations in groups of 128 | int8, 8 bits | u8 |

In the 7B shape the layers of onnxruntime-genai and OpenVINO share one layer's weights (113 MB, which no cache holds),
because their converters want more memory than the machine has.

![Each side as a part of ours](benchmarks.svg)
"""


def medians(rounds: list[Found], key: str) -> float | None:
    """Over the rounds that have the figure."""
    values = [each[key] for each in rounds if key in each]
    return statistics.median(values) if values else None


def ratio(ours: list[Found], theirs: list[Found], key: str, more: bool) -> float | None:
    """The median of the rounds' ratios, above 1 where ours is better."""
    pairs = [(a[key], b[key]) for a, b in zip(ours, theirs, strict=True) if key in a and key in b]
    return statistics.median(a / b if more else b / a for a, b in pairs) if pairs else None


def share(found: Found, side: str, key: str, tokens: int) -> str:
    """Of what the machine could do in that round; "" where it is no share."""
    rounds, limits = found["rounds"][side], found["rounds"][MACHINE]
    if key == "decode":
        rates = [each[key] for each in rounds if key in each]
        parts = [rate * found["bytes"][side] / at["bandwidth"] for rate, at in zip(rates, limits, strict=False)]
        return f"{statistics.median(parts):.0%} of the bandwidth" if parts else ""
    if key == "prefill" and (rate := medians(rounds, key)):
        each = found["operations"] + found["head_operations"] / tokens
        return f"{rate * each / found['int8']:.0%} of the int8 peak"
    if key == "many" and (seconds := medians(rounds, "many")):
        work = ROWS * (found["operations"] + found["head_operations"]) / seconds
        return f"{work / 1e9:.0f} GOP/s, {work / found['int8']:.0%} of the int8 peak"
    return ""


def table(found: Found, part: str, key: str, title: str, more: bool) -> Iterator[str]:
    """One figure of one shape, a line a side."""
    rounds = found["rounds"]
    if OURS not in rounds or medians(rounds[OURS], key) is None:
        return
    tokens = 4096 if part == "long" else 512
    yield f"| {title} | MB a token | median | of the machine | ownlm to it |"
    yield "|---|---|---|---|---|"
    for side, values in rounds.items():
        figure = medians(values, key)
        if side == MACHINE or figure is None:
            continue
        against = None if side == OURS else ratio(rounds[OURS], values, key, more)
        size = f"{found['bytes'][side] / 1e6:.0f}" if key == "decode" else ""
        times = "" if against is None else f"{against:.2f}x"
        yield f"| {side} | {size} | {figure:,.4g} | {share(found, side, key, tokens)} | {times} |"
    yield ""


def behind(document: Found) -> list[str]:
    """Every figure in which a peer is ahead of the better one of our two settings."""
    found = []
    for model, parts in document["parts"].items():
        for part, key, title, more in FIGURES:
            rounds = parts.get(part, {}).get("rounds", {})
            for side, values in rounds.items():
                if side == MACHINE or side.startswith(OURS) or OURS not in rounds:
                    continue
                against = ratio(rounds[OURS], values, key, more)
                if against is not None and against < 1:
                    found.append(f"- {model}, {title}: {side} is ahead of us, we are at {against:.2f} of it.")
    return found


def text(document: Found, source: str) -> str:
    """The whole page."""
    names = ("processor", "threads", "platform", "isa")
    lines = [_HEAD.format(source=source, **{name: document[name] for name in names})]
    for model, parts in document["parts"].items():
        lines += [f"## {model}", ""]
        for part, key, title, more in FIGURES:
            if part in parts:
                lines += table(parts[part], part, key, title, more)
        lines += _limits(parts)
    worse = behind(document)
    lines += ["## Where we are behind", "", *(worse or ["Nowhere in this run."]), ""]
    return "\n".join(lines)


def _limits(parts: dict[str, Found]) -> list[str]:
    """What the machine could do meanwhile, and what is ours alone."""
    lines = []
    for part, found in parts.items():
        speeds = [each["bandwidth"] / 1e9 for each in found["rounds"][MACHINE]]
        lines.append(
            f"- {part}: {found['seconds']:.0f} s; memory {min(speeds):.1f} to {max(speeds):.1f} GB/s, "
            f"int8 {found['int8'] / 1e9:.0f} GOP/s."
        )
        ours = found["rounds"].get(OURS, [])
        several = [each["streams"] / each["decode"] for each in ours if "streams" in each]
        if several:
            lines.append(f"- {STREAMS} streams of ours give {statistics.median(several):.2f} times the tokens of one.")
        if "outside" in found:
            lines.append(f"- Outside the model's steps: {found['outside']:.1%} of a token's time.")
    return [*lines, ""]


def picture(document: Found, path: Path) -> None:
    """Each peer's figure as a part of ours, a panel a figure: ours is the line at 1."""
    models = list(document["parts"])
    shown = [entry for entry in FIGURES if any(entry[0] in parts for parts in document["parts"].values())]
    sides = [side for parts in document["parts"].values() for part in parts.values() for side in part["rounds"]]
    peers = [side for side in dict.fromkeys(sides) if side not in (MACHINE, OURS)]
    figure, panels = plt.subplots(1, len(shown), figsize=(3.1 * len(shown), 3.4), sharey=True, squeeze=False)
    colours = plt.get_cmap("tab10")
    for panel, (part, key, title, more) in zip(panels[0], shown, strict=True):
        for at, side in enumerate(peers):
            for place, model in enumerate(models):
                rounds = document["parts"][model].get(part, {}).get("rounds", {})
                if OURS in rounds and side in rounds and (times := ratio(rounds[OURS], rounds[side], key, more)):
                    panel.bar(
                        place + (at - (len(peers) - 1) / 2) * 0.8 / len(peers), 1 / times, 0.8 / len(peers),
                        color=colours(at), label=side if place == 0 else None,
                    )  # fmt: skip
        panel.axhline(1, color="black", linewidth=1)
        panel.set_xticks(range(len(models)), models, rotation=20, fontsize=7)
        panel.set_title(title.split(", 8-bit")[0].replace(", ", "\n"), fontsize=8)
    panels[0][0].set_ylabel("part of ours (1 = ownlm)")
    handles = {label: handle for panel in panels[0] for handle, label in zip(*panel.get_legend_handles_labels())}  # noqa: B905
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="what cpu_engine.py wrote with --json")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="the folder for benchmarks.md and benchmarks.svg")
    arguments = parser.parse_args()
    document = json.loads(arguments.file.read_text())
    mpl.rcParams["svg.hashsalt"] = "ownlm"  # the same figures give the same file
    arguments.to.mkdir(parents=True, exist_ok=True)
    picture(document, arguments.to / "benchmarks.svg")
    command = "python benchmarks/cpu_engine.py --keep FOLDER --json FILE"
    (arguments.to / "benchmarks.md").write_text(text(document, command), encoding="utf-8")


if __name__ == "__main__":
    main()

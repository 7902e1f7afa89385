"""The starter's model card, NOTICE and checksums: made of what lies in its folder, so that nobody types a figure.

``made.json`` (what it was trained on and how, written by ``starter_pack``), ``evals.json``, ``receipt.json`` and
``parity.json`` are all that is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from ownlm.evals.catalog import load_task
from ownlm.evals.safety.report import lines
from ownlm.evals.squad2 import LEAST_ABOVE_REFUSING, LEAST_HAS_ANSWER_F1
from ownlm.files import atomic_write
from ownlm.hub import SUMS

MADE = "made.json"
LICENCE = "CC BY-SA 4.0"
COMPARABLES = (
    ("SQuAD 2.0, F1", "BERT-tiny 4.4M 49.7, BERT-mini 11M 59.7, BERT-small 29M 64.2, tuned on its own training set"),
    ("sentences of movie reviews (SST-2, not these), accuracy", "BERT-tiny 83.7, T5-small 91.8"),
    ("SQuAD 1.1, F1", "T5-small 80.0, trained on 34 billion tokens"),
    ("HumanEval", "models of 110 to 160 million weights solve 2 to 4 %; completing a line is far easier"),
)
"""What other models reach, and with what."""
DEMONSTRATION = (
    "**It is a demonstration**: it shows the whole way from text to a served model, and what a model of this size can\n"
    "and cannot do. `ownlm ask` quotes your documents unless it is asked for `--mode generate`."
)
EARNED = "Its answers from passages are good enough for `ownlm ask`."


def write(folder: Path) -> None:
    """README.md, NOTICE and SHA256SUMS of the folder."""
    made = _read(folder, MADE)
    texts = {"README.md": card(folder, made), "NOTICE": notice(folder.name, made)}
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode("utf-8"))
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    sums = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in found)
    with atomic_write(folder / SUMS) as file:
        file.write(sums.encode("utf-8"))


def card(folder: Path, made: Mapping[str, Any]) -> str:
    """``starter_card.md``, filled in."""
    evals = _read(folder, "evals.json")
    shape, first, second = made["shape"], made["pretraining"], made["tuning"]
    earned = _earned(evals)
    return Template((Path(__file__).parent / "starter_card.md").read_text(encoding="utf-8")).substitute(
        name=folder.name,
        machine=made["machine"],
        standing=EARNED if earned else DEMONSTRATION,
        millions=_millions(shape["parameters"]),
        **{
            name: f"{shape[name]:,}"
            for name in ("layers", "width", "heads", "kv_heads", "ffn", "vocabulary", "context")
        },
        pretrained=_millions(first["tokens"]),
        corpus=_millions(made["corpus_tokens"]),
        pretraining_steps=f"{first['steps']:,}",
        pretraining_minutes=_minutes(first),
        bits_per_byte=_number(first["valid_bits_per_byte"]),
        tuned=_millions(second["tokens"]),
        tuning_steps=f"{second['steps']:,}",
        tuning_minutes=_minutes(second),
        rounded=f"{made['rounded']:.0%}",
        format=made["format"].upper(),
        flops=f"{first['flops'] + second['flops']:.2g}",
        megabytes=_millions(made["bytes"]),
        licence=LICENCE,
        figures=figures(evals["tasks"]),
        comparables="".join(f"- {what}: {said}\n" for what, said in COMPARABLES),
        least_f1=f"{LEAST_HAS_ANSWER_F1:.0f}",
        least_gain=f"{LEAST_ABOVE_REFUSING:.0f}",
        earned="earned" if earned else "not earned",
        safety="\n".join(lines(evals["safety"])),
        data=data_table(made),
        left_out=f"{made['left_out']:,}",
    )


def _minutes(run: Mapping[str, Any]) -> str:
    """How long, and on how many cores, where that is known."""
    cores = "" if run["threads"] is None else f" on {run['threads']} core{'s' if run['threads'] > 1 else ''}"
    return f"{run['minutes']:.0f} minutes{cores}"


def _millions(count: float) -> str:
    return f"{count / 1e6:.1f}"


def figures(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of every task's figures with its baseline."""
    told = ["| set | samples | figure | value | 95 % | baseline |\n|---|---|---|---|---|---|\n"]
    for name, found in tasks.items():
        about = load_task(name).about.split(";")[0]
        baseline = found.get("baseline") or {"name": "", "metrics": {}}
        for rank, (metric, figure) in enumerate(found["metrics"].items()):
            other = baseline["metrics"].get(metric)
            told.append(
                f"| {f'{about} (`{name}`)' if rank == 0 else ''} | {found['samples'] if rank == 0 else ''} | {metric} "
                f"| {_number(figure['value'])} | {_span(figure)} "
                f"| {'' if other is None else baseline['name'] + ' ' + _number(other['value'])} |\n"
            )
    return "".join(told)


def data_table(made: Mapping[str, Any]) -> str:
    """Pretraining texts, then tuning data, each with its licence."""
    told = ["| pretraining text | licence | documents | MB | million tokens |\n|---|---|---|---|---|\n"]
    told += [
        f"| {row['credit']} | {row['licence']} | {row['documents']:,} | {row['bytes'] / 1e6:.1f} "
        f"| {row['tokens'] / 1e6:.2f} |\n"
        for row in made["corpus"]
    ]
    told.append("\n| tuning data | licence | conversations | answers |\n|---|---|---|---|\n")
    told += [f"| {row['credit']} | {row['licence']} | {row['rows']:,} | {row['answers']:,} |\n" for row in made["data"]]
    return "".join(told)


def notice(name: str, made: Mapping[str, Any]) -> str:
    """Whom the data is from."""
    credits = dict.fromkeys(f"{row['credit']} ({row['licence']})" for row in (*made["corpus"], *made["data"]))
    return (
        f"{name}\nTrained for OwnLM from nothing.\n\nTraining data: {'; '.join(credits)}.\n\n"
        f"The weights are offered under {LICENCE}, as training data of theirs is; the code that makes and runs them "
        "under the Apache License, Version 2.0.\n"
    )


def _earned(evals: Mapping[str, Any]) -> bool:
    found = evals.get("tasks", {}).get("squad2")
    if not found:
        return False
    has, both = (found["metrics"][name]["value"] for name in ("HasAns F1", "F1"))
    refusing = found["baseline"]["metrics"]["F1"]["value"]
    return bool(has >= LEAST_HAS_ANSWER_F1 and both >= refusing + LEAST_ABOVE_REFUSING)


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _span(figure: Mapping[str, Any]) -> str:
    return "" if figure.get("low") is None else f"{_number(figure['low'])} to {_number(figure['high'])}"


def _read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found

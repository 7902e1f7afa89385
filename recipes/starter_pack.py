"""From the tuned model to the folder that ships: four bits behind the parity gate, and a record of how it was made."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

from starter_card import MADE
from starter_plan import FORMAT, ROUNDED, Plan

from ownlm.cli.output import note
from ownlm.files import atomic_write
from ownlm.prompts import grounded
from ownlm.publish import steps
from ownlm.train.data import manifest
from ownlm.train.metrics import read_history

WORDS = {"grounded": grounded.SHORT.version}
"""The prompts that the model was tuned on, where they are not the first choice (``prompts.json``)."""
LARGEST = 45e6
"""Bytes of a model that goes into the package."""


def pack(plan: Plan, out: Path) -> Path:
    """Quantize ``out/tuned/model`` to ``out/NAME`` and write ``made.json`` and ``prompts.json`` there.

    Raises ParityBroken if what would be served is another model, SystemExit if it is too large to ship.
    """
    target = out / plan.name
    if (target / MADE).is_file():
        note(f"{target} is there")
        return target
    shutil.rmtree(target, ignore_errors=True)
    receipt, _ = steps.quantize(out / "tuned" / "model", target, FORMAT)
    size = sum(path.stat().st_size for path in target.iterdir())
    if size > LARGEST:
        raise SystemExit(f"{target} has {size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}: train a smaller model")
    _json(target / "prompts.json", WORDS)
    _json(target / MADE, record(plan, out) | {"bytes": size})
    note(f"{target}: {size / 1e6:.1f} MB, perplexity x {receipt.perplexity_ratio:.4f} of the unrounded weights'")
    return target


def record(plan: Plan, out: Path) -> dict[str, Any]:
    """What the model was trained on, and how."""
    config = json.loads((out / "tuned" / "model" / "config.json").read_text(encoding="utf-8"))
    first, second = run(out / "pretrained"), run(out / "tuned")
    shards = manifest.load(out / "shards")
    texts = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (out / "text").glob("*.json")}
    data = json.loads((out / "tuning" / "tasks.json").read_text(encoding="utf-8"))
    corpus = [
        {"name": s.name, "licence": s.licence, "credit": texts[s.name]["credit"], "documents": s.documents,
         "bytes": s.bytes, "tokens": s.tokens}
        for s in shards.sources
    ]  # fmt: skip
    return {
        "machine": machine(second["device"]),
        "shape": {
            "parameters": first["parameters"],
            "layers": config["num_hidden_layers"],
            "width": config["hidden_size"],
            "heads": config["num_attention_heads"],
            "kv_heads": config["num_key_value_heads"],
            "ffn": config["intermediate_size"],
            "vocabulary": config["vocab_size"],
            "context": config["max_position_embeddings"],
        },
        "format": FORMAT,
        "rounded": ROUNDED,
        "corpus_tokens": shards.tokens("train"),
        "pretraining": first,
        "tuning": second,
        "corpus": corpus,
        "data": data,
        "left_out": sum(row["shares_words_with_a_development_set"] for row in texts.values())
        + sum(row["shares_words"] for row in data),
    }


def run(folder: Path) -> dict[str, Any]:
    """What a training run did, from its metrics; without paths of this machine."""
    history = read_history(folder / "metrics.jsonl")
    assert history.end is not None, f"{folder} has not ended"
    measured = [step for step in history.steps if step.get("valid_loss") is not None]
    return {
        "steps": history.end["steps"],
        "tokens": history.end["tokens"],
        "minutes": round(history.end["seconds"] / 60, 1),
        "flops": history.run["flops_per_token"] * history.end["tokens"],
        "parameters": history.run["parameters"],
        "device": history.run["device"],
        "precision": history.run["precision"],
        "threads": history.run["recipe"]["threads"],
        "batch_tokens": history.run["tokens_per_step"],
        "rates": history.run["recipe"]["optimizer"]["rates"],
        "valid_loss": measured[-1]["valid_loss"] if measured else None,
        "valid_bits_per_byte": measured[-1].get("valid_bits_per_byte") if measured else None,
    }


def machine(device: str) -> str:
    """Where it was trained, in words."""
    if device == "cuda":
        import torch

        return f"one {torch.cuda.get_device_name()}"
    return f"a processor ({platform.machine()})"


def _json(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))

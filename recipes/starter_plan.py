"""How large a starter this machine can train, and the two recipes that make it: pretraining, then tuning.

budget of minutes ── three parts of four ──> pretraining     the clock sets both schedules, so that a slow
                  └─ one of four ──────────> tuning, its     hour trains less and not badly
                                             end with weights rounded to four bits
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from starter_corpus import VOCABULARY, Size

from ownlm.errors import InvalidSetting
from ownlm.train.chat_data import Chats
from ownlm.train.dial import dial
from ownlm.train.optim import OptimizerSettings
from ownlm.train.qat import QuantizationAware
from ownlm.train.recipe import Base, Data, Fresh, Recipe, Tokens
from ownlm.train.schedule import Schedule

CONTEXT = {"small": 1024, "large": 2048}
"""Positions of the model: room for a long paragraph, a question and an answer."""
FORMAT = "q4_0"
ROUNDED = 0.3
"""The share of tuning, its last, in which weights are rounded as they will be stored."""
TUNING_SHARE = 0.28
LEAST_ROWS = 16
"""Rows a step: of fewer, a small model's optimizer would take a fifth of the time."""
GIVEN_UP = 4.0
"""Times over the corpus at most: more teaches nothing new (Muennighoff et al. 2023, arXiv:2305.16264)."""


@dataclass(frozen=True)
class Plan:
    """``tokens_per_second`` is only a guess, by which batches and rates are chosen; the clock decides what is done."""

    size: Size
    depth: int
    minutes: float
    tokens_per_second: float
    length: int = 512
    threads: int | None = None

    @property
    def pretraining_minutes(self) -> float:
        return self.minutes * (1 - TUNING_SHARE)

    @property
    def tuning_minutes(self) -> float:
        return self.minutes * TUNING_SHARE

    @property
    def tokens(self) -> int:
        """What pretraining is expected to read."""
        return int(self.tokens_per_second * 60 * self.pretraining_minutes)

    @property
    def name(self) -> str:
        """Of the model: its millions of weights."""
        shape = dial(self.depth, VOCABULARY[self.size], context=CONTEXT[self.size]).shape
        return f"starter-{round(shape.parameters().total / 1e6)}m-{FORMAT}"


SMALL = Plan(size="small", depth=4, minutes=90, tokens_per_second=5_000)
"""Two cores: 4.7 million weights."""
LARGE = Plan(size="large", depth=10, minutes=20, tokens_per_second=450_000, length=1024)
"""One H200 or H100: 71 million weights, some 400 million tokens."""


def plan_for(size: str, minutes: float | None, threads: int | None = None) -> Plan:
    """The plan for this machine: ``auto`` takes the large model where a GPU is, and the small one elsewhere.

    Raises InvalidSetting for a size or a budget that is none.
    """
    if size not in ("auto", "small", "large"):
        raise InvalidSetting("--size", size, "give auto, small or large")
    if minutes is not None and not minutes > 0:
        raise InvalidSetting("--budget", minutes, "give a number of minutes above 0")
    if size == "auto":
        size = "large" if torch.cuda.is_available() else "small"
    found = LARGE if size == "large" else SMALL
    cores = threads or os.cpu_count() or 1
    speed = found.tokens_per_second * (1 if size == "large" else min(cores, 16) / 2)
    return replace(found, minutes=minutes or found.minutes, threads=threads, tokens_per_second=speed)


def pretraining(plan: Plan, out: Path) -> Recipe:
    """From nothing, over the shards of ``starter_corpus``."""
    shards = out / "shards"
    made = dial(plan.depth, VOCABULARY[plan.size], context=plan.length, tokens=plan.tokens)
    config = replace(made.shape, context=CONTEXT[plan.size]).config() | special_tokens(shards)
    return Recipe(
        name=f"{plan.name}-pretraining",
        model=Fresh(config, shards),
        data=Tokens(shards),
        optimizer=OptimizerSettings(rates=made.rates),
        schedule=Schedule(
            steps=most_steps(shards, made.batch_tokens),
            minutes=plan.pretraining_minutes,
            warmup=made.warmup_steps,
            decay=made.decay_share,
        ),
        batch=max(LEAST_ROWS, made.batch_tokens // plan.length),
        length=plan.length,
        threads=plan.threads,
        compile=torch.cuda.is_available(),
        save_every=50,
        measure_every=200,
    )


def tuning(plan: Plan, out: Path, conversations: Data | None = None) -> Recipe:
    """From the pretrained model, over the conversations of ``starter_tuning``, by default those in ``out``; its end
    rounds weights to four bits."""
    folder = out / "tuning"
    tokens = int(plan.tokens_per_second * 60 * plan.tuning_minutes)
    made = dial(plan.depth, VOCABULARY[plan.size], context=plan.length, tokens=tokens)
    rates = made.rates
    return Recipe(
        name=f"{plan.name}-tuning",
        model=Base(out / "pretrained" / "model"),
        data=conversations or Chats((folder / "train.jsonl",), valid=(folder / "valid.jsonl",), too_long="leave_out"),
        optimizer=OptimizerSettings(
            rates=replace(
                rates,
                matrices=rates.matrices * GENTLER,
                embeddings=rates.embeddings * GENTLER,
                gains=rates.gains * GENTLER,
                head=rates.head * GENTLER,
                weight_decay=0.0,
            )
        ),
        schedule=Schedule(steps=100_000, minutes=plan.tuning_minutes, warmup=20, decay=0.7),
        quantization=QuantizationAware(FORMAT, ROUNDED),
        batch=max(LEAST_ROWS, made.batch_tokens // plan.length),
        length=plan.length,
        threads=plan.threads,
        save_every=50,
        measure_every=100,
    )


GENTLER = 0.4
"""Rates of tuning, of those of pretraining."""


def special_tokens(tokenizer: Path) -> dict[str, Any]:
    """Where texts end and what fills rows, for ``config.json``."""
    said = json.loads((tokenizer / "generation_config.json").read_text(encoding="utf-8"))
    return {"eos_token_id": said["eos_token_id"], "pad_token_id": said["pad_token_id"], "bos_token_id": None}


def most_steps(shards: Path, batch_tokens: int) -> int:
    """Steps until the corpus has been read ``GIVEN_UP`` times."""
    from ownlm.train.data import manifest

    return max(1, int(manifest.load(shards).tokens("train") * GIVEN_UP / batch_tokens))

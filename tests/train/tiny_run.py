"""A tiny training run: token shards of a made-up language, and a recipe over them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.tokenizer.bpe import train_bpe
from ownlm.train.data.manifest import Manifest
from ownlm.train.data.shards import ShardWriter
from ownlm.train.dial import LearningRates
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Fresh, Recipe, Tokens
from ownlm.train.schedule import Schedule

WORDS = "the lamp gate harbour keeper boat rope is green old small near by and watches mends paints".split()  # noqa: SIM905
CONFIG: dict[str, Any] = {
    "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 320, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    "rope_theta": 10000.0, "tie_word_embeddings": True, "attention_bias": False, "eos_token_id": [0, 2],
}  # fmt: skip


def texts(count: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(5, 60)))) + "." for _ in range(count)]


def shards(folder: Path, documents: int = 300) -> Path:
    """Token shards with their tokenizer."""
    from ownlm.tokenizer import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    made = texts(documents)
    digest = train_bpe(made, 300, folder)
    tokenizer = Tokenizer.load(folder)
    splits = {}
    for split, part in (("train", made[20:]), ("valid", made[:20])):
        with ShardWriter(folder, split, "uint16", 0) as writer:
            for text in part:
                writer.document(tokenizer.encode(text), len(text.encode()))
            splits[split] = writer.finish()
    Manifest("uint16", 300, 0, digest, splits, []).write(folder)
    return folder


def recipe(data: Path, **changes: Any) -> Recipe:
    rates = LearningRates(0.02, 0.01, 0.01, 0.01, 0.01, 0.1)
    made = Recipe(
        name="tiny",
        model=Fresh(CONFIG, data),
        data=Tokens(data),
        optimizer=OptimizerSettings(rates=rates),
        schedule=Schedule(steps=12, warmup=2),
        batch=8,
        length=32,
        micro=4,
        precision="float32",
        threads=1,
        save_every=4,
        measure_every=6,
        average=0.9,
    )
    return dataclasses.replace(made, **changes)

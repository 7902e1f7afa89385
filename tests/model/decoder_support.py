"""Tiny random models of every family as transformers saves them, its logits, and our decoder over one side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import tiny_research
from numpy.typing import NDArray
from tiny_families import FAMILIES, save

from ownlm.model import checkpoint
from ownlm.model.batch import Batch
from ownlm.model.decoder import decode
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.ops import load
from ownlm.model.ops.base import Ops
from ownlm.model.params import DecoderParams

BLOCK = 16
LENGTH = 100  # beyond every window (32) and original context (32, 64)
Logits = NDArray[np.float32]
EVERY = (*FAMILIES, "ownlm")
_scratch = tempfile.TemporaryDirectory(prefix="ownlm-families-")


@cache
def folder(family: str) -> Path:
    """The family's model, made once a session."""
    path = Path(_scratch.name) / family
    return tiny_research.save(path) if family == "ownlm" else save(path, family)


def text(seed: int, length: int = LENGTH) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(3, 96, length).astype(np.int32)


@cache
def expected(family: str, seed: int) -> Logits:
    """transformers' logits of a text, all at once."""
    if family == "ownlm":
        return tiny_research.logits(folder(family), text(seed))
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder(family), attn_implementation="eager").eval()
    with torch.no_grad():
        logits: Logits = model(torch.tensor(text(seed)[None].astype(np.int64))).logits[0].float().numpy()
    return logits


def side(name: str) -> Ops:
    """The side called so; that for GPUs on the CPU, in float32, so that it is tested on every machine."""
    if name != "cuda":
        return load(name)
    import torch

    from ownlm.model.ops.cuda import CudaOps

    return CudaOps("cpu", torch.float32, "f32")


class Forward:
    """A decoder with its cache; sequences are numbered from 0, and sequence n has the blocks n * 7 + 1 and on."""

    def __init__(
        self,
        path: Path,
        change: Callable[[DecoderConfig], DecoderConfig] = lambda config: config,
        ops: Ops | None = None,
        spoil: Callable[[DecoderParams], DecoderParams] = lambda params: params,
    ) -> None:
        self.ops = ops or load("torch")
        found = checkpoint.load(path)
        self.config = change(decoder_config(found.config(), path))
        self.params: DecoderParams = self.ops.prepare(spoil(decoder_params(self.config, found.tensors)))
        self.cache = self.ops.kv_cache(
            self.config.num_hidden_layers, self.config.num_key_value_heads, self.config.head_dim, 30, BLOCK
        )
        self.step = self.ops.compile(lambda batch: decode(self.ops, self.config, self.params, batch, self.cache))

    def run(self, *parts: tuple[int, NDArray[np.int32], int]) -> Logits:
        """Logits of new tokens: (sequence, ids, how many are in the cache already) each."""
        tables = np.stack([np.arange(7, dtype=np.int32) + sequence * 7 + 1 for sequence, _, _ in parts])
        positions = [np.arange(done, done + len(ids), dtype=np.int32) for _, ids, done in parts]
        slots = [table[at // BLOCK] * BLOCK + at % BLOCK for table, at in zip(tables, positions, strict=True)]
        count = sum(len(ids) for _, ids, _ in parts)
        return self.step(
            Batch(
                ids=np.concatenate([ids for _, ids, _ in parts]),
                positions=np.concatenate(positions),
                cu_seqlens=np.cumsum([0, *(len(ids) for _, ids, _ in parts)], dtype=np.int32),
                lengths=np.array([done + len(ids) for _, ids, done in parts], np.int32),
                block_tables=tables,
                slots=np.concatenate(slots).astype(np.int32),
                rows=np.arange(count, dtype=np.int32),
            )
        )


def relative(ours: Logits, theirs: Logits) -> float:
    """The largest difference, in standard deviations of the logits."""
    return float(np.abs(ours - theirs).max() / theirs.std())


def check_ways(forward: Forward, family: str, within: float) -> None:
    """All at once; then two texts side by side in chunks of unequal length, and token by token."""
    want = expected(family, 1)
    assert relative(forward.run((0, text(1), 0)), want) < within
    one, two, other = text(1), text(2), expected(family, 2)
    found: dict[int, list[Logits]] = {0: [], 1: []}
    for (a, b), (c, d) in (((0, 37), (0, 5)), ((37, 38), (5, 90)), ((38, 97), (90, 91)), ((97, 98), (91, 92))):
        both = forward.run((0, one[a:b], a), (1, two[c:d], c))
        found[0].append(both[: b - a])
        found[1].append(both[b - a :])
    for at in range(92, LENGTH):
        found[1].append(forward.run((1, two[at : at + 1], at)))
    assert relative(np.concatenate(found[0]), want[:98]) < within
    assert relative(np.concatenate(found[1]), other) < within

"""A decoder opened to read a text, and how nearly two of them agree about it."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import InvalidSetting
from ownlm.model import checkpoint, memory
from ownlm.model.agreement import agreement
from ownlm.model.footprint import footprint
from ownlm.model.opened import WINDOW, check_memory, open_to_read, window_of, windows

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import expected, folder, text


@pytest.mark.parametrize("ops", ["torch", "native"])
def test_reads_as_transformers_does(ops: str) -> None:
    opened = open_to_read(folder("qwen3"), checkpoint.load(folder("qwen3")), ops)
    for seed in (0, 1):  # the second after the first, over the same cache
        found, wanted = opened.read(text(seed)), expected("qwen3", seed)
        assert np.abs(found - wanted).max() < (1e-3 if ops == "torch" else 5e-2) * np.abs(wanted).max()


def test_a_short_model_is_read_in_short_windows() -> None:
    opened = open_to_read(folder("gpt2"), checkpoint.load(folder("gpt2")), "torch")
    assert window_of(opened.config) == 128 < WINDOW
    parts = windows(list(range(3, 96)) * 4, 128)
    assert [len(part) for part in parts] == [129, 129, 116]
    assert agreement(opened.read, opened.read, parts).tokens == 93 * 4 - 1


def test_agreement_is_what_it_says() -> None:
    chance = np.random.default_rng(0)
    first, second = (chance.normal(size=(2000, 7)).astype(np.float32) for _ in range(2))
    ids = chance.integers(0, 7, 2001).astype(np.int32)
    found = agreement(lambda _: first, lambda _: second, [ids])
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (first.astype(float), second.astype(float)))
    kl = (p * np.log(p / q)).sum(1)
    assert math.isclose(found.mean_kl, kl.mean(), rel_tol=1e-5)
    assert math.isclose(found.kl_999, np.sort(kl)[1997], rel_tol=1e-5)  # of 2000, one in a thousand is above
    assert found.top1_agreement == (p.argmax(1) == q.argmax(1)).mean()
    assert math.isclose(found.perplexities[0], np.exp(-np.log(p[np.arange(2000), ids[1:]]).mean()), rel_tol=1e-5)


@pytest.mark.parametrize("broken", [np.full((4, 7), np.nan, np.float32), np.zeros((4, 8), np.float32)])
def test_what_is_no_distribution_agrees_with_nothing(broken: np.ndarray) -> None:
    sound = np.zeros((4, 7), np.float32)
    assert agreement(lambda _: sound, lambda _: broken, [np.arange(5, dtype=np.int32)]).mean_kl == math.inf


def test_memory_is_counted_as_weights_will_lie_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch side holds float32 whatever the file has."""
    path = folder("llama")
    found = checkpoint.load(path)
    taken = sum(
        footprint(open_to_read(path, found, ops).config, found.tensors, ops).weights for ops in ("torch", "native")
    )
    monkeypatch.setattr(memory, "available", lambda: taken + memory.RESERVE - 1)
    with pytest.raises(InvalidSetting, match="GB of memory are available"):
        check_memory([(path, found, "torch"), (path, found, "native")])
    monkeypatch.setattr(memory, "available", lambda: 2 * (taken + memory.RESERVE))
    check_memory([(path, found, "torch"), (path, found, "native")])

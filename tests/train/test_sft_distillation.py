"""Distillation: the loss by its definition, the same however a batch is split."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import save

from ownlm.errors import InvalidSetting
from ownlm.train import distillation
from ownlm.train.batch import IGNORED, Row, collate
from ownlm.train.decoder import Decoder
from ownlm.train.distillation import Distillation
from ownlm.train.losses import cross_entropy

torch.set_num_threads(1)


def rows() -> list[Row]:
    chance = np.random.default_rng(3)
    made = []
    for length in (12, 7):
        ids = chance.integers(3, 90, length)
        targets = np.append(ids[1:], IGNORED)
        targets[:4] = IGNORED
        made.append(Row(ids, targets))
    return made


def test_the_loss_is_what_its_definition_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distillation.CHUNK, "cpu", 4)
    teacher = save(tmp_path / "teacher", "llama")
    student = Decoder.load(save(tmp_path / "student", "qwen3"))
    loss = Distillation(teacher, temperature=2.0, share=0.7)
    batch = collate(rows())
    found = loss(student, batch)
    found.sum.backward()
    (part,) = student.projections()["model.layers.0.mlp.up_proj"]
    assert part.weight is not None and part.weight.grad is not None
    ours = part.weight.grad.clone()
    part.weight.grad = None

    kept = batch.targets != IGNORED
    with torch.no_grad():
        theirs = Decoder.load(teacher)(batch).logits()[kept]
    logits = student(batch).logits()[kept]
    apart = (F.softmax(theirs / 2, 1) * (F.log_softmax(theirs / 2, 1) - F.log_softmax(logits / 2, 1))).sum()
    whole = 0.7 * 4 * apart + 0.3 * F.cross_entropy(logits, batch.targets[kept], reduction="sum")
    whole.backward()
    assert found.sum.item() == pytest.approx(whole.item(), rel=1e-5)
    assert found.metrics["teacher_kl"] == pytest.approx(apart.item(), rel=1e-5)
    torch.testing.assert_close(ours, part.weight.grad, rtol=1e-4, atol=1e-5 * float(ours.abs().max()))

    apart_ = [loss(student, collate([row])) for row in rows()]
    assert sum(one.sum.item() for one in apart_) == pytest.approx(found.sum.item(), rel=1e-6)
    assert sum(one.count for one in apart_) == found.count == int(kept.sum())


def test_a_model_is_no_distance_from_itself(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "qwen3")
    model = Decoder.load(folder)
    found = Distillation(folder, share=1.0)(model, collate(rows()))
    assert found.sum.item() == pytest.approx(0, abs=1e-4)
    mixed = Distillation(folder, share=0.5)(model, collate(rows()))
    assert mixed.sum.item() == pytest.approx(cross_entropy(model, collate(rows())).sum.item() / 2, rel=1e-5)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    other = save(tmp_path / "other", "qwen3", vocab_size=128)
    model = Decoder.load(save(tmp_path / "model", "qwen3"))
    with pytest.raises(InvalidSetting, match="has 128 tokens, the student 96"):
        Distillation(other)(model, collate(rows()))
    for wrong in ({"temperature": 0.0}, {"share": 0.0}):
        with pytest.raises(InvalidSetting):
            Distillation(other, **wrong)

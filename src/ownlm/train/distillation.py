"""Distillation: a small model learns a large one's whole distribution, not the one token that the text has.

    loss = share * T^2 * KL(teacher_T || student_T) + (1 - share) * cross-entropy

a token, where _T means logits divided by the temperature T. Hinton et al. 2015, arXiv:1503.02531.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recomputed

from ownlm.errors import InvalidSetting
from ownlm.train.batch import TrainBatch
from ownlm.train.decoder import Decoder
from ownlm.train.losses import CHUNK, LossSum, wanted
from ownlm.train.ops import Hidden


@dataclass(frozen=True, slots=True)
class Distillation:
    """``teacher`` is the folder of a model with the same tokenizer; its weights stay as they are stored."""

    teacher: Path
    temperature: float = 1.0
    share: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InvalidSetting("temperature", self.temperature, "give a number above 0")
        if not 0 < self.share <= 1:
            raise InvalidSetting("share", self.share, "give a share above 0 and up to 1")

    def __call__(self, model: Decoder, batch: TrainBatch) -> LossSum:
        teacher = _opened(self.teacher, batch.ids.device)
        if teacher.config.vocab_size != model.config.vocab_size:
            raise InvalidSetting(
                "teacher", str(self.teacher),
                f"it has {teacher.config.vocab_size} tokens, the student {model.config.vocab_size}: they must have the "
                "same tokenizer",
            )  # fmt: skip
        with torch.no_grad():
            theirs, _ = wanted(teacher(batch), batch.targets)
        ours, targets = wanted(model(batch), batch.targets)
        total, apart = ours.x.new_zeros((), dtype=torch.float32), 0.0
        size = CHUNK[ours.x.device.type]
        for at in range(0, len(targets), size):
            rows = slice(at, at + size)
            given = ours, theirs, ours.x[rows], rows, targets[rows]
            loss, divergence = recomputed(self._chunk, *given, use_reentrant=False)
            total = total + loss
            apart += divergence.item()
        return LossSum(total, len(targets), {"teacher_kl": apart})

    def _chunk(self, ours: Hidden, theirs: Hidden, x: Tensor, rows: slice, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = Hidden(x, ours.head, ours.scale, ours.softcap).logits()
        with torch.no_grad():
            wanted_ = F.log_softmax(theirs.logits(rows) / self.temperature, dim=1)
        divergence = F.kl_div(
            F.log_softmax(logits / self.temperature, dim=1), wanted_, log_target=True, reduction="sum"
        )
        loss = self.share * self.temperature**2 * divergence
        if self.share < 1:
            loss = loss + (1 - self.share) * F.cross_entropy(logits, targets, reduction="sum")
        return loss, divergence.detach()


@lru_cache(maxsize=1)
def _opened(path: Path, device: torch.device) -> Decoder:
    return Decoder.load(path, frozen=True).place(device)

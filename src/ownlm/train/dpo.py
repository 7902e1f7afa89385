"""Direct preference optimization: of two answers the better one becomes likelier, measured against a reference model.

    loss = -log sigmoid(beta * ((log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))))

Rafailov et al. 2023, arXiv:2305.18290. A batch's sequences are chosen, rejected, chosen, rejected, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.errors import InvalidSetting
from ownlm.train.batch import IGNORED, TrainBatch
from ownlm.train.decoder import Decoder
from ownlm.train.lora import adapters, without_adapters
from ownlm.train.losses import LossSum, token_losses, wanted


@dataclass(frozen=True, slots=True)
class Dpo:
    """``beta``: how dear it is to leave the reference; ``smoothing``: the share of pairs that may be the wrong way
    round. The reference is what the batch says, or else the model without its adapters. Counts are pairs.
    """

    beta: float = 0.1
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise InvalidSetting("beta", self.beta, "give a number above 0")
        if not 0 <= self.smoothing < 0.5:
            raise InvalidSetting("smoothing", self.smoothing, "give a share from 0 to below 0.5")

    def __call__(self, model: Decoder, batch: TrainBatch) -> LossSum:
        found = log_probabilities(model, batch)
        reference = batch.reference
        if reference is None:
            if not adapters(model):
                raise InvalidSetting("reference", "", "a model without adapters needs one, such as float32")
            with torch.no_grad(), without_adapters(model):
                reference = log_probabilities(model, batch)
        rewards = self.beta * (found - reference).view(-1, 2)
        margins = rewards[:, 0] - rewards[:, 1]
        losses = -F.logsigmoid(margins) * (1 - self.smoothing) - F.logsigmoid(-margins) * self.smoothing
        with torch.no_grad():
            metrics = {
                "reward_chosen": rewards[:, 0].sum().item(),
                "reward_rejected": rewards[:, 1].sum().item(),
                "preferred": float((margins > 0).sum().item()),
            }
        return LossSum(losses.sum(), len(margins), metrics)


def log_probabilities(model: Decoder, batch: TrainBatch) -> Tensor:
    """float32 [sequences]: of what is to be learnt of each, all its tokens together."""
    hidden, targets = wanted(model(batch), batch.targets)
    losses = token_losses(hidden, targets).float()
    count = sum(run.count for run in batch.runs)
    return losses.new_zeros(count).index_add(0, batch.documents[batch.targets != IGNORED], -losses)

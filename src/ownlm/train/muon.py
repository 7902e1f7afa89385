"""Muon: steps of gradient momentum whose singular values are all near 1 (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/)."""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose iteration drives singular values of (0, 1] to about 1."""


def orthogonal(matrices: Tensor) -> Tensor:
    """[n, N, K]: each matrix with its singular values driven to about 1 by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    x = matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(STEPS):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def mixed(gradients: Tensor, momenta: Tensor) -> Tensor:
    """What a step is made of: gradients and their momenta, which are updated in place (Nesterov)."""
    momenta.lerp_(gradients, 1 - MOMENTUM)
    return gradients.lerp(momenta, MOMENTUM)


def direction(matrices: Tensor) -> Tensor:
    """[n, N, K]: the steps to be subtracted, times the learning rate, of ``mixed`` matrices."""
    rows, columns = matrices.shape[1:]
    scale: float = max(1.0, rows / columns) ** 0.5
    return orthogonal(matrices) * scale

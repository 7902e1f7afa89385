"""RMS norm with a backward pass of its own, in half the time: on a CPU, PyTorch's is a chain of small operations, each
of which reads and writes everything."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    y: Tensor = _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return y


class _RmsNorm(torch.autograd.Function):
    """With n = x / rms: y = n w, dx = (w dy - n mean(n w dy)) / rms, dw = sum(n dy)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, weight, scale)
        y: Tensor = normed * weight
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        normed, weight, scale = ctx.saved_tensors
        products = (gradient * normed).reshape(-1, normed.shape[-1])
        mean = torch.mv(products, weight).view(scale.shape).mul_(-1 / normed.shape[-1])
        dx = torch.addcmul(gradient * weight, normed, mean).mul_(scale) if ctx.needs_input_grad[0] else None
        return dx, products.sum(0) if ctx.needs_input_grad[1] else None, None

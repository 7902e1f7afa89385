"""Linear layers over weights that are frozen as they are stored: 4- or 8-bit blocks, or bfloat16.

The dense weight is made at use and dropped; the backward pass makes it again. So a frozen model takes in training no
more memory than its file (the idea of QLoRA, Dettmers et al. 2023, arXiv:2305.14314).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.formats import FORMATS

PLAIN = ""
"""The format of numbers that are no blocks."""


def dense(stored: Tensor, form: str) -> Tensor:
    """float32 [..., K] of blocks uint8 [..., K / block * bytes]; plain numbers as they are."""
    if form == PLAIN:
        return stored
    if form not in ("q4_0", "q8_0"):  # the others are read by NumPy alone
        values = FORMATS[form].dequantize(stored.cpu().numpy())
        return torch.from_numpy(values).to(stored.device)
    blocks = stored.reshape(-1, FORMATS[form].bytes)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()
    packed = blocks[:, 2:]
    if form == "q4_0":
        values_ = torch.cat([packed & 15, packed >> 4], dim=1).float() - 8
    else:
        values_ = packed.contiguous().view(torch.int8).float()
    return (scale * values_).view(*stored.shape[:-1], -1)


def frozen_linear(x: Tensor, stored: Tensor, form: str, bias: Tensor | None) -> Tensor:
    """x W^T + b; the gradient reaches x and b alone."""
    y: Tensor = _Linear.apply(x, stored, form)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stored: Tensor, form: str) -> Tensor:
        ctx.save_for_backward(stored)
        ctx.form, ctx.dtype = form, x.dtype
        device = x.device.type
        used = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            return F.linear(x.to(used), dense(stored, form).to(used))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (stored,) = ctx.saved_tensors
        (gradient,) = gradients
        with torch.autocast(gradient.device.type, enabled=False):
            back = gradient @ dense(stored, ctx.form).to(gradient.dtype)
        return back.to(ctx.dtype), None, None

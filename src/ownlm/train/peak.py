"""How fast this machine multiplies matrices: what MFU is the ratio of."""

from __future__ import annotations

import time

import torch

SECONDS = 0.25
CPU_SIZE, GPU_SIZE = 1024, 8192


def measured_peak(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second of this process: the fastest of square products for a quarter of a second.

    A maker's figure is what a chip could do; this is what its library does with an ideal shape, so that MFU tells
    what training loses to everything else.
    """
    device = torch.device(device)
    size = GPU_SIZE if device.type == "cuda" else CPU_SIZE
    a, b = torch.randn(size, size, device=device).to(dtype), torch.randn(size, size, device=device).to(dtype)
    out = torch.empty(size, size, device=device, dtype=dtype)
    fastest, rounds = float("inf"), 0
    end = time.perf_counter() + SECONDS
    while rounds < 3 or time.perf_counter() < end:
        before = time.perf_counter()
        torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest, rounds = min(fastest, time.perf_counter() - before), rounds + 1
    return 2.0 * size**3 / fastest


def used(tokens_per_second: float, flops_per_token: float, peak: float | None) -> float | None:
    """MFU, 0 to 1: operations that the model asks for over what the machine could do (Chowdhery et al. 2022,
    arXiv:2204.02311, appendix B). None where no peak is known."""
    return tokens_per_second * flops_per_token / peak if peak else None

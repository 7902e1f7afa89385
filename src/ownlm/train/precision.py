"""Which arithmetic multiplies fastest here: a start-up probe."""

from __future__ import annotations

import time

import torch

from ownlm.train.recipe import Precision

ROWS, INNER = 2048, 512


def chosen(wanted: Precision, device: torch.device) -> torch.dtype:
    """The dtype of multiplications: as asked, or bfloat16 where it is faster than float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    seconds = probe(device)
    return min(seconds, key=lambda dtype: seconds[dtype])


def multiplying(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Within, products are computed in that dtype; weights and sums stay float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def probe(device: torch.device) -> dict[torch.dtype, float]:
    """Seconds of one layer forward and backward in each dtype, the best of several."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(ROWS, INNER, device=device)
        w = torch.randn(INNER, INNER, device=device, requires_grad=True)
        times = []
        for _ in range(6):
            began = time.perf_counter()
            with multiplying(device, dtype):
                y = torch.nn.functional.linear(x, w)
            y.float().sum().backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        found[dtype] = min(times[1:])
    return found

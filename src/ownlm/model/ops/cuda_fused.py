"""What ``cuda_kernels`` compute, over torch's tensors: shapes, sizes of tiles, and how many programs.

Sizes are chosen for memory that streams: a program of ``rows_kernel`` asks for 2 to 4 KB of codes at a time.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from ownlm.model.ops.base import AttentionSpec
from ownlm.model.ops.cuda_batch import Few
from ownlm.model.ops.cuda_weights import Blocks

ROWS = 64
"""Inputs up to which a product reads the blocks themselves; for more they are dequantized first."""
_PROGRAMS = 528  # of attention: four for each of an H100's 132 multiprocessors
_SPLITS = 32  # and no more parts than this of a text


def available() -> bool:
    """Whether Triton is installed; torch for Linux with CUDA brings it along."""
    return find_spec("triton") is not None


def matmul(
    x: Tensor,
    w: Blocks,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    residual_scale: float = 1.0,
    *,
    dtype: torch.dtype | None = None,
    which: Tensor | None = None,
) -> Tensor:
    """[R, N] in ``dtype`` (None: as x): residual_scale * (x W^T + bias) + residual. R is at most ``ROWS`` unless
    ``which`` [R] says of which matrix of several each row is multiplied with."""
    from ownlm.model.ops import cuda_kernels as kernels

    x, (outputs, groups) = x.contiguous(), w.scales.shape[-2:]
    out = torch.empty(len(x), outputs, dtype=dtype or x.dtype, device=x.device)
    given = {
        "BITS": w.bits,
        "OFFSET": w.offsets is not None,
        "HAS_BIAS": bias is not None,
        "HAS_RESIDUAL": residual is not None,
    }
    if len(x) == 1 or which is not None:
        kernels.rows_kernel[(-(-outputs // 4), len(x))](
            x, w.codes, w.scales, w.offsets, which, bias, residual, out, outputs, groups, residual_scale,
            **given, BN=4, BG=32, HAS_WHICH=which is not None, num_warps=4,
        )  # fmt: skip
    else:
        tall = max(16, _power(len(x)))
        kernels.tile_kernel[(-(-outputs // 16),)](
            x, w.codes, w.scales, w.offsets, bias, residual, out, len(x), outputs, groups, residual_scale,
            **given, BM=tall, BN=16, BG=8 if tall == 16 else 4, num_warps=4,
        )  # fmt: skip
    return out


def dequantized(w: Blocks, dtype: torch.dtype) -> Tensor:
    """[N, K]"""
    from ownlm.model.ops import cuda_kernels as kernels

    rows, groups = w.scales.shape
    out = torch.empty(rows, groups * 32, dtype=dtype, device=w.codes.device)
    grid = (-(-rows * groups // 128),)
    kernels.dequantize_kernel[grid](
        w.codes, w.scales, w.offsets, out, rows * groups, BITS=w.bits, OFFSET=w.offsets is not None, BG=128
    )
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> Tensor:
    """[T, D]"""
    from ownlm.model.ops import cuda_kernels as kernels

    x, width = x.contiguous(), x.shape[1]
    out = torch.empty_like(x)
    kernels.rms_norm_kernel[(len(x),)](
        x, weight, residual, out, width, eps, BD=_power(width), HAS_RESIDUAL=residual is not None, num_warps=8
    )
    return out


def silu_gated(both: Tensor) -> Tensor:
    """[T, N] of [T, 2 N]: silu(gate) * up."""
    from ownlm.model.ops import cuda_kernels as kernels

    both, width = both.contiguous(), both.shape[1] // 2
    out = torch.empty(len(both), width, dtype=both.dtype, device=both.device)
    kernels.silu_gated_kernel[(len(both), -(-width // 1024))](both, out, width, BN=1024)
    return out


def place(
    y: Tensor, spec: AttentionSpec, cos: Tensor | None, sin: Tensor | None, slots: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """Queries [T, heads * head] of the projection y; its keys and values go to their slots of one layer's cache."""
    from ownlm.model.ops import cuda_kernels as kernels

    y, normed = y.contiguous(), spec.q_norm is not None
    q = torch.empty(len(y), spec.heads * spec.head_dim, dtype=y.dtype, device=y.device)
    kernels.place_kernel[(len(y), spec.heads + 2 * spec.kv_heads)](
        y, spec.q_norm.weight if normed else None, spec.k_norm.weight if normed else None, cos, sin, slots, q, keys,
        values, spec.q_norm.eps if normed else 0.0, y.shape[1], 0 if cos is None else cos.shape[-1],
        HEADS=spec.heads, KV=spec.kv_heads, D=spec.head_dim, BD=_power(spec.head_dim), HAS_NORM=normed,
        HAS_ROPE=cos is not None, num_warps=1,
    )  # fmt: skip
    return q


def attend(
    q: Tensor, keys: Tensor, values: Tensor, few: Few, block_size: int, spec: AttentionSpec, sinks: Tensor | None
) -> Tensor:
    """As ``cuda_attention.attend_few``."""
    from ownlm.model.ops import cuda_kernels as kernels

    q, (count, heads, width) = q.contiguous(), q.shape
    splits = min(-(-few.tables.shape[1] * block_size // 128), -(-_PROGRAMS // (count * spec.kv_heads)), _SPLITS)
    sums = torch.empty(count, heads, splits, width, dtype=torch.float32, device=q.device)
    tops, totals = torch.empty_like(sums[..., 0]), torch.empty_like(sums[..., 0])
    group = heads // spec.kv_heads
    kernels.attend_kernel[(count, spec.kv_heads, splits)](
        q, keys, values, few.lengths, few.tables, sums, tops, totals, spec.scale, spec.softcap or 0.0,
        spec.window or 0, few.tables.shape[1],
        KV=spec.kv_heads, GROUP=group, D=width, SIZE=block_size, SPLITS=splits, BH=max(16, _power(group)),
        BD=max(16, _power(width)), BL=32, HAS_CAP=spec.softcap is not None, HAS_WINDOW=spec.window is not None,
        num_warps=4,
    )  # fmt: skip
    out = torch.empty(count, heads * width, dtype=q.dtype, device=q.device)
    kernels.join_kernel[(count, heads)](
        sums, tops, totals, sinks, out, HEADS=heads, D=width, SPLITS=splits, BS=_power(splits), BD=_power(width),
        HAS_SINKS=sinks is not None, num_warps=1,
    )  # fmt: skip
    return out


def _power(count: int) -> int:
    """The next power of 2."""
    return 1 << (count - 1).bit_length()

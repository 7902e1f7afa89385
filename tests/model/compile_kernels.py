"""Compiles every Triton kernel for the GPU architectures given (80 90), which takes no GPU; prints the shared memory of
each. Run by test_cuda_kernels.py in a process of its own: the kernels must not be interpreted there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ownlm.model.ops import cuda_kernels as kernels

BF16, F16, F32, INT = "*bf16", "*fp16", "*fp32", "*i32"


def compiled(kernel: Any, warps: int, architecture: int, **given: Any) -> int:
    """Bytes of shared memory. ``given``: of each argument its type, or the constant that it is."""
    types = {n: v if isinstance(v, str) else "constexpr" for n, v in given.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if types[n].startswith("*")}
    source = ASTSource(
        kernel,
        {name: types[name] for name in kernel.arg_names},
        {name: value for name, value in given.items() if not isinstance(value, str)},
        aligned,
    )
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})
    assert made.asm["cubin"]
    shared: int = made.metadata.shared
    return shared


def cases() -> Iterator[tuple[Any, int, dict[str, Any]]]:
    """(kernel, warps, arguments) as ``cuda_fused`` calls them, at the sizes of known models."""
    for bits, offset in ((4, False), (4, True), (8, False)):
        weights = {"codes": "*u8" if bits == 4 else "*i8", "scales": F16, "offsets": F16 if offset else None}
        shape = {"N": "i32", "G": "i32", "residual_scale": "fp32", "BITS": bits, "OFFSET": offset}
        both = {"bias": F32, "residual": BF16, "HAS_BIAS": True, "HAS_RESIDUAL": True}
        none = {"bias": None, "residual": None, "HAS_BIAS": False, "HAS_RESIDUAL": False}
        one = {**weights, **shape, "x": BF16, "BN": 4, "BG": 32}
        yield kernels.rows_kernel, 4, {**one, **both, "out": BF16, "which": None, "HAS_WHICH": False}
        yield kernels.rows_kernel, 4, {**one, **none, "out": F32, "which": "*i64", "HAS_WHICH": True}
        for rows, groups in ((16, 8), (32, 4), (64, 4)):
            tile = {**weights, **shape, **both, "x": BF16, "out": BF16, "R": "i32", "BM": rows, "BN": 16, "BG": groups}
            yield kernels.tile_kernel, 4, tile
        yield kernels.dequantize_kernel, 4, {
            **weights, "out": BF16, "count": "i32", "BITS": bits, "OFFSET": offset, "BG": 128,
        }  # fmt: skip
    yield kernels.rms_norm_kernel, 8, {
        "x": BF16, "weight": F32, "residual": BF16, "out": BF16, "D": "i32", "eps": "fp32", "BD": 4096,
        "HAS_RESIDUAL": True,
    }  # fmt: skip
    yield kernels.silu_gated_kernel, 4, {"both": BF16, "out": BF16, "N": "i32", "BN": 1024}
    for normed, turned in ((True, True), (False, True), (False, False)):
        norm, turn = F32 if normed else None, F32 if turned else None
        yield kernels.place_kernel, 1, {
            "y": BF16, "q_weight": norm, "k_weight": norm, "cos": turn, "sin": turn, "slots": INT, "q": BF16,
            "keys": BF16, "values": BF16, "eps": "fp32", "WIDTH": "i32", "HALF": "i32", "HEADS": 14, "KV": 2, "D": 64,
            "BD": 64, "HAS_NORM": normed, "HAS_ROPE": turned,
        }  # fmt: skip
    for width, more in ((64, False), (96, True), (128, False), (256, True)):
        parts = {
            "sums": F32,
            "tops": F32,
            "totals": F32,
            "D": width,
            "SPLITS": 8,
            "BD": max(64, 1 << (width - 1).bit_length()),
        }
        yield kernels.attend_kernel, 4, {
            **parts, "q": BF16, "keys": BF16, "values": BF16, "lengths": INT, "tables": INT, "scale": "fp32",
            "softcap": "fp32", "window": "i32", "WIDTH": "i32", "KV": 2, "GROUP": 7, "SIZE": 16, "BH": 16, "BL": 32,
            "HAS_CAP": more, "HAS_WINDOW": more,
        }  # fmt: skip
        yield kernels.join_kernel, 1, {
            **parts, "sinks": F32 if more else None, "out": BF16, "HEADS": 14, "BS": 8, "HAS_SINKS": more,
        }  # fmt: skip


if __name__ == "__main__":
    for architecture in map(int, sys.argv[1:]):
        for kernel, warps, given in cases():
            print(architecture, kernel.__name__, compiled(kernel, warps, architecture, **given), flush=True)

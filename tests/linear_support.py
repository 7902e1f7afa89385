"""Weights of every format with what they mean, and activations as the kernels round them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.formats import FORMATS as BLOCKS
from ownlm.formats import bfloat16

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
FORMATS = ("f32", "bf16", "q8_0", "q4_0")
K_FORMATS = ("q4_k", "q5_k", "q6_k")
"""Their rows are multiples of 256 weights."""


def store(w: Floats, format_: str) -> tuple[NDArray[Any], Doubles]:
    """Weights [N, K] as a checkpoint stores them, and the numbers that those bytes say."""
    if format_ == "f32":
        return w, w.astype(float)
    if format_ == "bf16":
        bits = bfloat16.from_float32(w)
        return bits, bfloat16.to_float32(bits).astype(float)
    form = BLOCKS[format_]
    blocks = form.quantize(w)
    return blocks, form.dequantize(blocks).astype(float)


def rounded(x: Floats, format_: str) -> Doubles:
    """x in a format's terms, as the kernels bring it there: int8 in groups of 32 by the same steps, or bfloat16."""
    if format_ == "f32":
        return x.astype(float)
    if format_ == "bf16":
        return bfloat16.to_float32(bfloat16.from_float32(x)).astype(float)
    groups = x.reshape(len(x), x.shape[1] // 32, 32)
    peak = np.abs(groups).max(axis=2, keepdims=True, initial=0)
    with np.errstate(divide="ignore"):
        inverse = np.where(peak > 0, np.float32(127) / peak, np.float32(0))
    return (np.rint(groups * inverse) * (peak / np.float32(127)).astype(float)).reshape(x.shape)


def sigmoid(x: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-x))


def activated(x: Doubles, kind: str) -> Doubles:
    if kind == "gelu":
        return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "relu2":
        return np.maximum(x, 0) ** 2
    return x * sigmoid(x) if kind == "silu" else x


def gated(gate: Doubles, up: Doubles, kind: str) -> Doubles:
    if kind == "swiglu_oai":
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        return gate * sigmoid(1.702 * gate) * (up + 1)
    return activated(gate, kind) * up


def make(rng: np.random.Generator, rows: int, outputs: int, inputs: int) -> tuple[Floats, Floats, Floats, Floats]:
    """x, w, bias, residual; products have a standard deviation of about 1."""
    return (
        rng.standard_normal((rows, inputs), dtype=np.float32),
        rng.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(math.sqrt(inputs)),
        rng.standard_normal(outputs, dtype=np.float32),
        rng.standard_normal((rows, outputs), dtype=np.float32),
    )

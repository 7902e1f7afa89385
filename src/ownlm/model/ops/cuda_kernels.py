# mypy: ignore-errors
"""Triton kernels of a decoded token: products with blocks of 4 and 8 bits, norms, rotation, attention over the cache.

Imported where Triton is there (see ``cuda_fused``, which knows the shapes). A group is 32 weights of a row under one
float16 scale; the codes of one lie together, and byte i of a 4-bit group holds the weights i and i + 16. What is added
up is float32. Attention is split along the text and put together after (Dao et al. 2023, "Flash-Decoding"), over
blocks of a paged cache (Kwon et al. 2023, arXiv:2309.06180).

Triton is a language of its own in Python's syntax, without types.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _halves(codes, at, there, BITS: tl.constexpr, OFFSET: tl.constexpr):
    """Weights i and i + 16 of groups, without scale and offset; ``at``: group * 16 + i."""
    if BITS == 4:
        packed = tl.load(codes + at, mask=there, other=0)
        low, high = (packed & 15).to(tl.float32), (packed >> 4).to(tl.float32)
        if not OFFSET:
            low, high = low - 8, high - 8
    else:
        place = at // 16 * 32 + at % 16
        low = tl.load(codes + place, mask=there, other=0).to(tl.float32)
        high = tl.load(codes + place + 16, mask=there, other=0).to(tl.float32)
    return low, high


@triton.jit
def _finish(y, out, at, mask, residual, residual_scale, HAS_RESIDUAL: tl.constexpr):
    """residual_scale * y + residual, stored."""
    y *= residual_scale
    if HAS_RESIDUAL:
        y += tl.load(residual + at, mask=mask, other=0).to(tl.float32)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=mask)


@triton.jit
def rows_kernel(
    x, codes, scales, offsets, which, bias, residual, out, N, G, residual_scale,
    BITS: tl.constexpr, OFFSET: tl.constexpr, BN: tl.constexpr, BG: tl.constexpr,
    HAS_WHICH: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
):  # fmt: skip
    """out [R, N]: BN outputs of one row a program. ``which`` [R]: by which matrix [N, K] of several."""
    row = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    i = tl.arange(0, 16)
    first = n.to(tl.int64)
    if HAS_WHICH:
        first += tl.load(which + row).to(tl.int64) * N
    acc = tl.zeros([BN], tl.float32)
    for start in range(0, G, BG):
        g = start + tl.arange(0, BG)
        there = (n < N)[:, None] & (g < G)[None, :]
        group = first[:, None] * G + g[None, :]
        scale = tl.load(scales + group, mask=there, other=0).to(tl.float32)
        low, high = _halves(codes, group[:, :, None] * 16 + i[None, None, :], there[:, :, None], BITS, OFFSET)
        inputs = x + row * G * 32 + g[:, None] * 32 + i[None, :]
        x_low = tl.load(inputs, mask=(g < G)[:, None], other=0).to(tl.float32)
        x_high = tl.load(inputs + 16, mask=(g < G)[:, None], other=0).to(tl.float32)
        sums = tl.sum(low * x_low[None, :, :] + high * x_high[None, :, :], axis=2)
        acc += tl.sum(sums * scale, axis=1)
        if OFFSET:
            whole = tl.sum(x_low + x_high, axis=1)
            acc += tl.sum(tl.load(offsets + group, mask=there, other=0).to(tl.float32) * whole[None, :], axis=1)
    if HAS_BIAS:
        acc += tl.load(bias + n, mask=n < N, other=0)
    _finish(acc, out, row * N + n, n < N, residual, residual_scale, HAS_RESIDUAL)


@triton.jit
def tile_kernel(
    x, codes, scales, offsets, bias, residual, out, R, N, G, residual_scale,
    BITS: tl.constexpr, OFFSET: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BG: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
):  # fmt: skip
    """out [R, N]: BN outputs of all rows a program, R <= BM, by matrix instructions."""
    m = tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    j = tl.arange(0, BG * 16)
    acc = tl.zeros([BM, BN], tl.float32)
    for start in range(0, G, BG):
        g = start + j // 16
        there = (g < G)[:, None] & (n < N)[None, :]
        group = n.to(tl.int64)[None, :] * G + g[:, None]
        scale = tl.load(scales + group, mask=there, other=0).to(tl.float32)
        low, high = _halves(codes, group * 16 + (j % 16)[:, None], there, BITS, OFFSET)
        inputs = x + m[:, None] * G * 32 + (g * 32 + j % 16)[None, :]
        given = (m < R)[:, None] & (g < G)[None, :]
        x_low, x_high = tl.load(inputs, mask=given, other=0), tl.load(inputs + 16, mask=given, other=0)
        low, high = low * scale, high * scale
        if OFFSET:
            offset = tl.load(offsets + group, mask=there, other=0).to(tl.float32)
            low, high = low + offset, high + offset
        acc = tl.dot(x_low, low.to(x_low.dtype), acc)
        acc = tl.dot(x_high, high.to(x_high.dtype), acc)
    mask = (m < R)[:, None] & (n < N)[None, :]
    if HAS_BIAS:
        acc += tl.load(bias + n, mask=n < N, other=0)[None, :]
    _finish(acc, out, m[:, None] * N + n[None, :], mask, residual, residual_scale, HAS_RESIDUAL)


@triton.jit
def dequantize_kernel(codes, scales, offsets, out, count, BITS: tl.constexpr, OFFSET: tl.constexpr, BG: tl.constexpr):
    """out [count * 32] of so many groups."""
    g = tl.program_id(0).to(tl.int64) * BG + tl.arange(0, BG)
    i = tl.arange(0, 16)
    scale = tl.load(scales + g, mask=g < count, other=0).to(tl.float32)[:, None]
    low, high = _halves(codes, g[:, None] * 16 + i[None, :], (g < count)[:, None], BITS, OFFSET)
    low, high = low * scale, high * scale
    if OFFSET:
        offset = tl.load(offsets + g, mask=g < count, other=0).to(tl.float32)[:, None]
        low, high = low + offset, high + offset
    place = out + g[:, None] * 32 + i[None, :]
    tl.store(place, low.to(out.dtype.element_ty), mask=(g < count)[:, None])
    tl.store(place + 16, high.to(out.dtype.element_ty), mask=(g < count)[:, None])


@triton.jit
def rms_norm_kernel(x, weight, residual, out, D, eps, BD: tl.constexpr, HAS_RESIDUAL: tl.constexpr):
    """A row a program."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BD)
    v = tl.load(x + row * D + d, mask=d < D, other=0).to(tl.float32)
    v = v * tl.rsqrt(tl.sum(v * v, axis=0) / D + eps) * tl.load(weight + d, mask=d < D, other=0)
    if HAS_RESIDUAL:
        v += tl.load(residual + row * D + d, mask=d < D, other=0).to(tl.float32)
    tl.store(out + row * D + d, v.to(out.dtype.element_ty), mask=d < D)


@triton.jit
def silu_gated_kernel(both, out, N, BN: tl.constexpr):
    """out [T, N] of both [T, 2 N]."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    gate = tl.load(both + row * 2 * N + n, mask=n < N, other=0).to(tl.float32)
    up = tl.load(both + row * 2 * N + N + n, mask=n < N, other=0).to(tl.float32)
    tl.store(out + row * N + n, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=n < N)


@triton.jit
def place_kernel(
    y, q_weight, k_weight, cos, sin, slots, q, keys, values, eps, WIDTH, HALF,
    HEADS: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, BD: tl.constexpr,
    HAS_NORM: tl.constexpr, HAS_ROPE: tl.constexpr,
):  # fmt: skip
    """A head of a token a program: of y [T, WIDTH] to q [T, HEADS * D], or keys and values [slots, KV, D].

    Heads of queries and keys are normed, then turned by cos and sin [T, HALF]. A slot below 0 is nowhere.
    """
    t, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, BD)
    source = y + t * WIDTH + h * D
    v = tl.load(source + d, mask=d < D, other=0).to(tl.float32)
    if h < HEADS + KV:
        other = tl.where(d < HALF, d + HALF, d - HALF)
        turns = (d < 2 * HALF) & (d < D)
        w = v
        if HAS_ROPE:
            w = tl.load(source + other, mask=turns, other=0).to(tl.float32)
        if HAS_NORM:
            factor = tl.rsqrt(tl.sum(v * v, axis=0) / D + eps)
            weight = q_weight if h < HEADS else k_weight
            v = v * factor * tl.load(weight + d, mask=d < D, other=0)
            w = w * factor * tl.load(weight + other, mask=turns, other=0)
        if HAS_ROPE:
            f = tl.where(d < HALF, d, d - HALF)
            c = tl.load(cos + t * HALF + f, mask=turns, other=0)
            s = tl.load(sin + t * HALF + f, mask=turns, other=0)
            v = tl.where(turns, v * c + tl.where(d < HALF, -w, w) * s, v)
    slot = tl.load(slots + t).to(tl.int64)
    kept = d < tl.where(slot >= 0, D, 0)
    if h < HEADS:
        tl.store(q + (t * HEADS + h) * D + d, v.to(q.dtype.element_ty), mask=d < D)
    elif h < HEADS + KV:
        at = keys + (slot * KV + h - HEADS) * D + d
        tl.store(at, v.to(keys.dtype.element_ty), mask=kept)
    else:
        at = values + (slot * KV + h - HEADS - KV) * D + d
        tl.store(at, v.to(values.dtype.element_ty), mask=kept)


@triton.jit
def attend_kernel(
    q, keys, values, lengths, tables, sums, tops, totals, scale, softcap, window, WIDTH,
    KV: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, SIZE: tl.constexpr, SPLITS: tl.constexpr,
    BH: tl.constexpr, BD: tl.constexpr, BL: tl.constexpr, HAS_CAP: tl.constexpr, HAS_WINDOW: tl.constexpr,
):  # fmt: skip
    """Of q [n, KV * GROUP, D], over a part of what each token sees: the sum of values [n, heads, SPLITS, D] before
    it is divided, and the largest score and the sum of exponentials [n, heads, SPLITS]."""
    t, kv, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    h, d = tl.arange(0, BH), tl.arange(0, BD)
    length = tl.load(lengths + t)
    first = 0
    if HAS_WINDOW:
        first = tl.maximum(length - window, 0)
    each = tl.cdiv(tl.cdiv(length - first, SPLITS), BL) * BL
    start = first + part * each
    end = tl.minimum(start + each, length)
    head = kv * GROUP + h
    asked = tl.load(
        q + (t * KV * GROUP + head)[:, None] * D + d[None, :], mask=(h < GROUP)[:, None] & (d < D)[None, :], other=0
    )
    top = tl.full([BH], float("-inf"), tl.float32)
    total = tl.zeros([BH], tl.float32)
    acc = tl.zeros([BH, BD], tl.float32)
    for at in range(start, end, BL):
        p = at + tl.arange(0, BL)
        block = tl.load(tables + t * WIDTH + p // SIZE, mask=p < end, other=0).to(tl.int64)
        place = ((block * SIZE + p % SIZE) * KV + kv)[:, None] * D + d[None, :]
        there = (p < end)[:, None] & (d < D)[None, :]
        k = tl.load(keys + place, mask=there, other=0)
        scores = tl.dot(asked, tl.trans(k)) * scale
        if HAS_CAP:
            scores = softcap * (2 * tl.sigmoid(2 * scores / softcap) - 1)
        scores = tl.where((p < end)[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        shares = tl.exp(scores - higher[:, None])
        fade = tl.exp(top - higher)
        v = tl.load(values + place, mask=there, other=0)
        acc = tl.dot(shares.to(v.dtype), v, acc * fade[:, None])
        total = total * fade + tl.sum(shares, axis=1)
        top = higher
    row = (t * KV * GROUP + head) * SPLITS + part
    tl.store(tops + row, top, mask=h < GROUP)
    tl.store(totals + row, total, mask=h < GROUP)
    tl.store(sums + row[:, None] * D + d[None, :], acc, mask=(h < GROUP)[:, None] & (d < D)[None, :])


@triton.jit
def join_kernel(
    sums, tops, totals, sinks, out, HEADS: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr, BS: tl.constexpr,
    BD: tl.constexpr, HAS_SINKS: tl.constexpr,
):  # fmt: skip
    """out [n, HEADS * D]: the parts of ``attend_kernel``, weighed. A sink is a score of nothing."""
    t, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    s, d = tl.arange(0, BS), tl.arange(0, BD)
    row = (t * HEADS + h) * SPLITS + s
    top = tl.load(tops + row, mask=s < SPLITS, other=float("-inf"))
    highest = tl.max(top, axis=0)
    if HAS_SINKS:
        highest = tl.maximum(highest, tl.load(sinks + h))
    weight = tl.exp(top - highest)
    total = tl.sum(weight * tl.load(totals + row, mask=s < SPLITS, other=0), axis=0)
    if HAS_SINKS:
        total += tl.exp(tl.load(sinks + h) - highest)
    parts = tl.load(sums + row[:, None] * D + d[None, :], mask=(s < SPLITS)[:, None] & (d < D)[None, :], other=0)
    y = tl.sum(parts * weight[:, None], axis=0) / total
    tl.store(out + (t * HEADS + h) * D + d, y.to(out.dtype.element_ty), mask=d < D)

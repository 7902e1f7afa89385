"""A mixture of experts on a GPU, by how many tokens there are.

Few tokens, where shapes must be those of a graph: each reads the experts that it chose, or, if together they chose
more than there are, every expert is computed for every token. Many tokens are sorted by expert, which asks the device
once how many each one got.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ownlm.model.decoder_config import ExpertsConfig
from ownlm.model.ops.cuda_weights import Blocks, Linear, Stored, dequantized, stacked
from ownlm.model.params import DecoderParams

if TYPE_CHECKING:
    from ownlm.model.ops.cuda import CudaOps

GRAPHED = 64
"""Tokens up to which a step may be one of a graph (``cuda_graphs.TOKENS``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """The weights of all experts side by side: [E, N, K], biases [E, N]."""

    router: Linear
    gate_up: Linear
    down: Linear


def stack_experts(tree: Any) -> Any:
    """A prepared tree whose layers have ``Experts`` in the place of ``ExpertsParams``."""
    if not isinstance(tree, DecoderParams):
        return tree
    layers = []
    for layer in tree.layers:
        if layer.experts is not None:
            found: Any = Experts(layer.experts.router, _side_by_side(layer.experts.gate_up),
                                 _side_by_side(layer.experts.down))  # fmt: skip
            layer = dataclasses.replace(layer, experts=found)
        layers.append(layer)
    return dataclasses.replace(tree, layers=tuple(layers))


def mixed(ops: CudaOps, x: Tensor, w: Experts, config: ExpertsConfig) -> Tensor:
    """[T, D]: the weighted sum of each token's experts."""
    shares, chosen = ops.routed(ops.linear(x, w.router).float(), config)
    if len(x) > GRAPHED:
        return _sorted(ops, x, w, config, shares, chosen)
    if ops.reads_rows_of(w.gate_up.weight) or chosen.numel() <= config.count:
        return _chosen(ops, x, w, config, shares, chosen)
    return _all(ops, x, w, config, shares, chosen)


def _chosen(ops: CudaOps, x: Tensor, w: Experts, config: ExpertsConfig, shares: Tensor, chosen: Tensor) -> Tensor:
    which = chosen.flatten()
    inner = ops.activated(_of(ops, x.repeat_interleave(config.chosen, dim=0), w.gate_up, which), config.activation)
    each = _of(ops, inner, w.down, which).view(*chosen.shape, -1)
    return (each.float() * shares[:, :, None]).sum(dim=1).to(x.dtype)


def _of(ops: CudaOps, x: Tensor, w: Linear, which: Tensor) -> Tensor:
    """[R, N]: each row by the expert of its own."""
    if ops.reads_rows_of(w.weight):
        y = ops.matmul_of(x, w.weight, which)
    else:
        y = torch.bmm(_matrices(w.weight, which, x.dtype), x[:, :, None])[:, :, 0]
    return y if w.bias is None else y + w.bias[which].to(y.dtype)


def _matrices(weight: Stored, which: Tensor, dtype: torch.dtype) -> Tensor:
    """[R, N, K]"""
    if isinstance(weight, Tensor):
        return weight[which]
    each = weight[which]
    offsets = None if each.offsets is None else each.offsets.flatten(0, 1)
    flat = Blocks(each.codes.flatten(0, 1), each.scales.flatten(0, 1), offsets)
    return dequantized(flat, dtype).view(len(which), weight.codes.shape[1], -1)


def _all(ops: CudaOps, x: Tensor, w: Experts, config: ExpertsConfig, shares: Tensor, chosen: Tensor) -> Tensor:
    weights = torch.zeros(len(x), config.count, device=x.device).scatter_(1, chosen, shares)
    y = torch.zeros(x.shape, device=x.device)
    for expert in range(config.count):
        y += _expert(ops, x, w, config, expert).float() * weights[:, expert, None]
    return y.to(x.dtype)


def _sorted(ops: CudaOps, x: Tensor, w: Experts, config: ExpertsConfig, shares: Tensor, chosen: Tensor) -> Tensor:
    order = chosen.flatten().argsort()
    counts = torch.bincount(chosen.flatten(), minlength=config.count).tolist()
    y, start = torch.zeros(x.shape, device=x.device), 0
    for expert, count in enumerate(counts):
        if count:
            places = order[start : start + count]
            rows = places // config.chosen
            found = _expert(ops, x[rows], w, config, expert).float()
            y.index_add_(0, rows, found * shares.flatten()[places, None])
        start += count
    return y.to(x.dtype)


def _expert(ops: CudaOps, x: Tensor, w: Experts, config: ExpertsConfig, expert: int) -> Tensor:
    inner = ops.glu_linear(x, _one(w.gate_up, expert), config.activation)
    return ops.linear(inner, _one(w.down, expert))


def _one(w: Linear, expert: int) -> Linear:
    return Linear(w.weight[expert], None if w.bias is None else w.bias[expert])


def _side_by_side(experts: Sequence[Linear]) -> Linear:
    biases = [expert.bias for expert in experts if expert.bias is not None]
    return Linear(stacked(expert.weight for expert in experts), torch.stack(biases) if biases else None)

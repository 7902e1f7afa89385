"""The operations of a decoder on the native side: each records a step of a plan, which is replayed per batch.

A batch of a recorded forward holds ``Fact``s in the place of arrays; operations take and give ``Value``s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.model.batch import Batch
from ownlm.model.config import Activation
from ownlm.model.decoder_config import ExpertsConfig, GatedActivation
from ownlm.model.ops.base import AttentionSpec, Ids
from ownlm.model.ops.native_weights import Head, Linear, Norm, Table
from ownlm.model.params import ExpertsParams
from ownlm.native import plan


@dataclass(frozen=True, slots=True)
class Fact:
    """What a batch will hold under ``name``."""

    plan: plan.Plan
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """What a step will compute."""

    plan: plan.Plan
    register: int


class DecoderOps:
    """See ``Ops``."""

    def __init__(self, cache_format: plan.CacheFormat = "bf16") -> None:
        self.cache_format: plan.CacheFormat = cache_format

    def record_embed(self, lookups: Sequence[tuple[Any, Table]], scale: float) -> Value:
        """``embed`` of facts."""
        p: plan.Plan = lookups[0][0].plan
        tables = [(fact.name, table.values, table.format) for fact, table in lookups]
        return Value(p, p.embed(tables, lookups[0][1].width, scale))

    def record_linear(
        self, x: Value, w: Linear, residual: Value | None, activation: Activation, residual_scale: float
    ) -> Value:
        """``linear`` of a value."""
        return Value(
            x.plan, x.plan.linear(x.register, w.weight, w.bias, _register(residual), residual_scale, activation)
        )

    def record_layer_norm(self, x: Value, w: Norm) -> Value:
        """``layer_norm`` of a value."""
        return Value(x.plan, x.plan.layer_norm(x.register, w.weight, w.bias, w.eps))

    def glu_linear(self, x: Value, w: Linear, activation: GatedActivation) -> Value:
        return Value(x.plan, x.plan.glu_linear(x.register, w.weight, activation, w.bias))

    def rms_norm(self, x: Value, w: plan.RMSNorm, residual: Value | None = None) -> Value:
        return Value(x.plan, x.plan.norm(x.register, w, _register(residual)))

    def kv_cache(self, layers: int, heads: int, head_dim: int, blocks: int, block_size: int) -> Any:
        return plan.kv_cache(layers, blocks, block_size, heads, head_dim, self.cache_format)

    def copy_blocks(self, cache: Any, pairs: Ids) -> None:
        cache.copy_blocks(np.ascontiguousarray(pairs, np.int32).reshape(-1, 2))

    def block_bytes(self, cache: Any) -> int:
        count: int = cache.block_bytes
        return count

    def read_blocks(self, cache: Any, ids: Ids) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = cache.read_blocks(np.ascontiguousarray(ids, np.int32))
        return found

    def write_blocks(self, cache: Any, ids: Ids, data: NDArray[np.uint8]) -> None:
        cache.write_blocks(np.ascontiguousarray(ids, np.int32), data)

    def qkv_rope(self, x: Value, w: Linear, spec: AttentionSpec, cache: Any, batch: Batch) -> Value:
        return Value(x.plan, x.plan.qkv_rope(x.register, w.weight, _attention(spec, cache), w.bias))

    def cached_attention(self, q: Value, spec: AttentionSpec, cache: Any, batch: Batch) -> Value:
        return Value(q.plan, q.plan.cached_attention(q.register, _attention(spec, cache)))

    def moe(
        self,
        x: Value,
        w: ExpertsParams,
        config: ExpertsConfig,
        residual: Value | None = None,
        residual_scale: float = 1.0,
    ) -> Value:
        experts = plan.Experts(
            router=w.router.weight,
            router_bias=w.router.bias,
            gate_up=[expert.weight for expert in w.gate_up],
            gate_up_bias=_stacked(w.gate_up),
            down=[expert.weight for expert in w.down],
            down_bias=_stacked(w.down),
            chosen=config.chosen,
            activation=config.activation,
            softmax_of_chosen=config.softmax_of_chosen,
            normalize=config.normalize,
            residual_scale=residual_scale,
        )
        return Value(x.plan, x.plan.moe(x.register, experts, _register(residual)))

    def logits(
        self, x: Value, head: Linear | Head, batch: Batch, scale: float = 1.0, softcap: float | None = None
    ) -> Value:
        if isinstance(head, Head):
            x.plan.rescored_logits(x.register, head.weight, head.bias, scale, softcap or 0.0)
            return Value(x.plan, plan.NONE)
        x.plan.logits(x.register, head.weight, head.bias, scale, softcap or 0.0)
        return Value(x.plan, plan.NONE)

    def compile(self, forward: Callable[[Batch], Any]) -> Callable[[Batch], NDArray[np.float32]]:
        recorded = plan.Plan()
        facts: dict[str, Any] = {field.name: Fact(recorded, field.name) for field in fields(Batch)}
        forward(Batch(**facts))
        return recorded.run


def _register(value: Value | None) -> int:
    return plan.NONE if value is None else value.register


def _attention(spec: AttentionSpec, cache: Any) -> plan.Attention:
    rope, table = spec.rope, spec.value_table
    return plan.Attention(
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        scale=spec.scale,
        layer=spec.layer,
        cache=cache,
        window=spec.window or 0,
        softcap=spec.softcap or 0.0,
        sinks=spec.sinks,
        inverse_frequencies=None if rope is None else rope.inverse_frequencies,
        attention_factor=1.0 if rope is None else rope.attention_factor,
        q_norm=spec.q_norm,
        k_norm=spec.k_norm,
        whole_row_norm=spec.whole_row_norm,
        value_table=None if table is None else (table.values, table.format),
    )


def _stacked(experts: Sequence[Linear]) -> NDArray[np.float32] | None:
    biases = [expert.bias for expert in experts if expert.bias is not None]
    return np.stack(biases) if biases else None

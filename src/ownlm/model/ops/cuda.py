"""Operations on a GPU: bfloat16, weights of 4 and 8 bits as they are stored, a paged cache, CUDA graphs.

The forward is the oracle's (``ops/torch.py``) with other weights, another cache and other attention. With Triton, which
torch brings along on Linux, what a decoded token costs is in fused kernels; without it everything is torch's own
operations, at a lower speed. Everything also runs on the device "cpu", where the tests look at it.

Rounding is bfloat16's: 8 bits of mantissa in every value between two operations (relative 2^-9), beside weights whose
blocks are taken exactly. A row's result may depend on how many rows are computed with it, because a GPU's matrix
products do: the same ids alone and in a batch are promised by the native side, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting, MissingExtra
from ownlm.model.batch import Batch
from ownlm.model.config import Activation
from ownlm.model.decoder_config import ExpertsConfig, GatedActivation
from ownlm.model.ops.base import AttentionSpec
from ownlm.model.ops.choice import gpu
from ownlm.model.ops.torch import TorchOps
from ownlm.model.params import map_leaves
from ownlm.model.rope import Rope

try:
    import torch
    from torch import Tensor
    from torch.nn import functional as F
except ModuleNotFoundError:
    raise MissingExtra("train", "torch") from None

from ownlm.model.ops import cuda_fused
from ownlm.model.ops.cuda_attention import attend_few, attend_many
from ownlm.model.ops.cuda_batch import DeviceBatch
from ownlm.model.ops.cuda_experts import mixed, stack_experts
from ownlm.model.ops.cuda_graphs import Capture, CudaGraphs, Steps, rerun
from ownlm.model.ops.cuda_weights import Blocks, Linear, Stored, dequantized, looked_up, pack
from ownlm.model.ops.torch_weights import Norm, Rms

P = TypeVar("P")
READY = (1, 2, 4, 8)
"""Tokens of steps that are captured when a model is opened: answers of a few people, and short drafts."""
FORMATS = {"bf16": torch.bfloat16, "f32": torch.float32}


class CudaOps(TorchOps):
    """See ``Ops``. ``dtype`` is that of values between operations, ``cache_format`` that of keys and values.

    ``capture`` repeats a step (see ``cuda_graphs``); ``fused``: whether Triton's kernels are used where they can be.
    """

    name = "cuda"

    def __init__(
        self,
        device: str = "cuda",
        dtype: torch.dtype = torch.bfloat16,
        cache_format: str = "bf16",
        capture: Capture | None = None,
        fused: bool | None = None,
    ) -> None:
        if device == "cuda" and isinstance(why := gpu(), str):
            raise InvalidSetting("ops", "cuda", f"{why}; or use the CPU")
        super().__init__(device)
        if cache_format not in FORMATS:
            raise InvalidSetting("kv_format", cache_format, f"on a GPU give {' or '.join(FORMATS)}, or use the CPU")
        self.dtype, self.cache_format = dtype, cache_format
        on_gpu = self.device.type == "cuda"
        self._capture = capture or (CudaGraphs() if on_gpu else rerun)
        self._fused = (on_gpu and cuda_fused.available()) if fused is None else fused
        self._constants: dict[int, tuple[object, Tensor]] = {}
        self._block_size = 0

    def prepare(self, params: P) -> P:
        made: dict[int, Stored] = {}  # a tied head is the table of embeddings
        packed: P = stack_experts(map_leaves(params, lambda leaf: pack(leaf, self.device, self.dtype, made)))
        return packed

    def linear(
        self,
        x: Tensor,
        w: Any,
        residual: Tensor | None = None,
        activation: Activation = "",
        residual_scale: float = 1.0,
    ) -> Tensor:
        if not activation and self._few_of(x, w.weight):
            return cuda_fused.matmul(x, w.weight, w.bias, residual, residual_scale)
        return super().linear(x, w, residual, activation, residual_scale)

    def glu_linear(self, x: Tensor, w: Any, activation: GatedActivation) -> Tensor:
        return self.activated(self._project(x, w), activation)

    def activated(self, both: Tensor, activation: GatedActivation) -> Tensor:
        """[T, N] of [T, 2 N]: gates, then what they let through."""
        if self._fused and activation == "silu":
            return cuda_fused.silu_gated(both)
        gate, up = both.chunk(2, dim=1)
        return self._activated(gate, up, activation)

    def rms_norm(self, x: Tensor, w: Rms, residual: Tensor | None = None) -> Tensor:
        if self._fused:
            return cuda_fused.rms_norm(x, w.weight, w.eps, residual)
        y = F.rms_norm(x.float(), w.weight.shape, w.weight, w.eps).to(x.dtype)
        return y if residual is None else y + residual

    def layer_norm(self, x: Tensor, w: Norm) -> Tensor:
        return super().layer_norm(x.float(), w).to(x.dtype)

    def kv_cache(self, layers: int, heads: int, head_dim: int, blocks: int, block_size: int) -> Any:
        """One block more than asked for, where tokens go that pad a step."""
        self._block_size = block_size
        made = super().kv_cache(0, heads, head_dim, 0, block_size)
        kind, shape = FORMATS[self.cache_format], (layers, (blocks + 1) * block_size, heads, head_dim)
        keys, values = (torch.zeros(shape, dtype=kind, device=self.device) for _ in range(2))
        return type(made)(keys, values, block_size)

    def qkv_rope(self, x: Tensor, w: Any, spec: AttentionSpec, cache: Any, batch: Any) -> Tensor:
        keys, values = cache.keys[spec.layer], cache.values[spec.layer]
        if self._fused and spec.value_table is None and not spec.whole_row_norm:
            cos, sin = self._rotation(spec.rope, batch) if spec.rope is not None else (None, None)
            return cuda_fused.place(self._project(x, w), spec, cos, sin, batch.slots, keys, values)
        q, k, v = self._qkv(x, w, spec, batch)
        slots = batch.slots.long()
        keys[slots], values[slots] = k.to(keys.dtype), v.to(values.dtype)
        return q.flatten(1)

    def cached_attention(self, q: Tensor, spec: AttentionSpec, cache: Any, batch: Any) -> Tensor:
        known: DeviceBatch = batch
        keys, values = cache.keys[spec.layer], cache.values[spec.layer]
        heads = q.to(keys.dtype).view(len(q), spec.heads, spec.head_dim)
        sinks = None if spec.sinks is None else self._floats(spec.sinks)
        out = torch.empty_like(q)
        if (few := known.few) is not None:
            asked = heads if few.which is None else heads[few.which]
            if self._fused:
                found = cuda_fused.attend(asked, keys, values, few, cache.block_size, spec, sinks)
            else:
                found = attend_few(asked, keys, values, few, cache.block_size, spec, sinks, known)
            if few.which is None:
                return found.to(q.dtype)
            out[few.which] = found.to(q.dtype)
        for many in known.many:
            part = slice(many.start, many.end)
            out[part] = attend_many(heads[part], keys, values, many, spec, sinks, known).to(q.dtype)
        return out

    def moe(
        self,
        x: Tensor,
        w: Any,
        config: ExpertsConfig,
        residual: Tensor | None = None,
        residual_scale: float = 1.0,
    ) -> Tensor:
        y = mixed(self, x, w, config) * residual_scale
        return y if residual is None else y + residual

    def logits(self, x: Tensor, head: Any, batch: Any, scale: float = 1.0, softcap: float | None = None) -> Tensor:
        rows = x[batch.rows]
        if self._few_of(rows, head.weight):
            y = cuda_fused.matmul(rows, head.weight, head.bias, dtype=torch.float32)
        else:
            y = self._in_full(rows, head)
        y = y * scale if scale != 1 else y
        return y if softcap is None else softcap * torch.tanh(y / softcap)

    def compile(self, forward: Callable[[Batch], Tensor]) -> Callable[[Batch], NDArray[np.float32]]:
        ready = READY if isinstance(self._capture, CudaGraphs) else ()
        return Steps(forward, self.device, self._block_size, self._capture, ready)  # type: ignore[arg-type]

    def _in_full(self, x: Tensor, w: Linear) -> Tensor:
        """float32 outputs, so that near logits do not fall together."""
        weight = self._values(w.weight)
        if x.device.type == "cuda" and x.dtype != torch.float32:
            y = torch.mm(x, weight.t(), out_dtype=torch.float32)
        else:
            y = F.linear(x.float(), weight.float())
        return y if w.bias is None else y + w.bias

    def _project(self, x: Tensor, w: Any) -> Tensor:
        if self._few_of(x, w.weight):
            return cuda_fused.matmul(x, w.weight, w.bias)
        return F.linear(x, self._values(w.weight), None if w.bias is None else w.bias.to(x.dtype))

    def reads_rows_of(self, weight: Stored) -> bool:
        """Whether ``matmul_of`` is there for experts that are stored so."""
        return self._fused and isinstance(weight, Blocks)

    def matmul_of(self, x: Tensor, weight: Any, which: Tensor) -> Tensor:
        """[R, N]: each row of x times the matrix of ``weight`` [E, N, K] that ``which`` [R] says."""
        return cuda_fused.matmul(x, weight, which=which)

    def _few_of(self, x: Tensor, weight: Stored) -> bool:
        return self._fused and isinstance(weight, Blocks) and len(x) <= cuda_fused.ROWS

    def _values(self, weight: Stored) -> Tensor:
        """[N, K], for as long as one product takes."""
        if isinstance(weight, Tensor):
            return weight
        return cuda_fused.dequantized(weight, self.dtype) if self._fused else dequantized(weight, self.dtype)

    def _looked_up(self, table: Any, ids: Any) -> Tensor:
        return looked_up(table, ids, self.dtype)

    def _turned(self, x: Tensor, rope: Rope, batch: Any) -> Tensor:
        return super()._turned(x, rope, batch).to(x.dtype)

    def _rotation(self, rope: Any, batch: Any) -> tuple[Tensor, Tensor]:
        """Worked out by the first layer that turns so."""
        known: DeviceBatch = batch
        if ("rope", id(rope)) not in known.made:
            known.made["rope", id(rope)] = super()._rotation(rope, batch)
        cos, sin = known.made["rope", id(rope)]
        return cos, sin

    def _ids(self, ids: Any) -> Tensor:
        return ids if isinstance(ids, Tensor) else super()._ids(ids)

    def _floats(self, values: NDArray[np.floating]) -> Tensor:
        """Of constants, which are there once: a captured step may not copy from the host."""
        if id(values) not in self._constants:
            self._constants[id(values)] = values, super()._floats(values)
        return self._constants[id(values)][1]

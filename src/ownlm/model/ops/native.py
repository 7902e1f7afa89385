"""Operations in the kernels of ``ownlm.native``: CPU, quantized weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.model.config import Activation
from ownlm.model.ops.base import Ids
from ownlm.model.ops.native_decoder import DecoderOps, Fact, Value
from ownlm.model.ops.native_weights import Linear, Norm, Table, apart, pack, pack_head
from ownlm.model.ops.packing import RESCORE_FROM, rescored
from ownlm.model.ops.packs import Packs
from ownlm.model.params import DecoderParams, map_leaves
from ownlm.native.plan import CacheFormat

P = TypeVar("P")
Array = NDArray[np.float32]


class NativeOps(DecoderOps):
    """See ``Ops``. An encoder's operations compute at once, over NumPy float32 arrays; a decoder's are recorded.

    A ``head`` that is "rescored", where it has ``rescore_from`` weights and 8 bits a weight or more, is read by a 4-bit
    copy, and the logits that lead are computed again from its own rows; ``Batch.exact`` asks for all of a row's.

    Any number of threads may compute at a time. A row's result does not depend on the other rows of its batch, to the
    last bit.
    """

    name = "native"

    def __init__(
        self,
        cache_format: CacheFormat = "bf16",
        head: Literal["exact", "rescored"] = "exact",
        rescore_from: int = RESCORE_FROM,
    ) -> None:
        super().__init__(cache_format)
        self.head, self.rescore_from = head, rescore_from

    def prepare(self, params: P, packs: Packs | None = None) -> P:
        """``packs``: where weights are that were packed before, and those packed now are left."""
        there = packs or Packs()
        found: Any = params
        if isinstance(found, DecoderParams) and found.head is not None:
            tree = map_leaves(replace(found, head=None), lambda leaf: pack(leaf, there.name(), there))
            if self.head == "exact" or not rescored(found.head, self.rescore_from):
                head: Any = pack(found.head, "head", there)
            else:
                tied = found.embed_tokens.table is found.head.matrices[0]
                head = pack_head(found.head, tree.embed_tokens if tied else None, there)
            found = replace(tree, head=head)
        else:
            found = map_leaves(found, lambda leaf: pack(leaf, there.name(), there))
        result: P = found
        return result

    def embed(self, lookups: Sequence[tuple[Ids, Table]], scale: float = 1.0) -> Any:
        if isinstance(lookups[0][0], Fact):
            return self.record_embed(lookups, scale)
        x = native.embed_sum([ids for ids, _ in lookups], [table.values for _, table in lookups])
        return x if scale == 1 else x * np.float32(scale)

    def linear(
        self,
        x: Any,
        w: Linear,
        residual: Any = None,
        activation: Activation = "",
        residual_scale: float = 1.0,
    ) -> Any:
        if isinstance(x, Value):
            return self.record_linear(x, w, residual, activation, residual_scale)
        return native.linear(apart(x, w.outliers), w.weight, w.bias, residual, activation, scale=residual_scale)

    def layer_norm(self, x: Any, w: Norm) -> Any:
        if isinstance(x, Value):
            return self.record_layer_norm(x, w)
        return native.layer_norm(x, w.weight, w.bias, w.eps)

    def attention(self, qkv: Array, cu_seqlens: Ids, heads: int) -> Array:
        return native.attention_varlen(qkv, cu_seqlens, heads, (qkv.shape[1] / (3 * heads)) ** -0.5)

    def mean_pool(self, x: Array, cu_seqlens: Ids, normalize: bool) -> Array:
        return native.mean_pool(x, cu_seqlens, normalize)

    def numpy(self, x: Array) -> Array:
        return x.copy()

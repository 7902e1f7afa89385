"""The operations that models are written over, and the sides that compute them: kernels for CPUs, a GPU, the oracle."""

from __future__ import annotations

from typing import cast, get_args

from ownlm.errors import InvalidSetting
from ownlm.model.ops.base import Ops as Ops
from ownlm.model.ops.packing import RESCORE_FROM
from ownlm.native.plan import CacheFormat

SIDES = ("native", "cuda", "torch")

FORMATS: tuple[str, ...] = get_args(CacheFormat)
HEADS = ("rescored", "exact")


def load(name: str, *, head: str = "exact", rescore_from: int | None = None, kv_format: str | None = None) -> Ops:
    """The side called ``name``; each is imported only when asked for.

    ``head``: how the native side computes logits, see ``NativeOps``; the torch side's head is always exact.
    ``kv_format``: what keys and values are kept as, "bf16", "int8", "int4" or "f32"; None is the side's own. Raises
    InvalidSetting for one that the side does not have.
    """
    if head not in HEADS:
        raise InvalidSetting("head", head, f"give one of {', '.join(HEADS)}")
    if name == "native":
        from ownlm.model.ops.native import NativeOps

        least = RESCORE_FROM if rescore_from is None else rescore_from
        if kv_format not in (None, *FORMATS):
            raise InvalidSetting("kv_format", kv_format, f"give one of {', '.join(FORMATS)}")
        kept = cast(CacheFormat, kv_format or "bf16")
        return NativeOps(kept, head="rescored" if head == "rescored" else "exact", rescore_from=least)
    if name == "cuda":
        from ownlm.model.ops.cuda import CudaOps

        return CudaOps(cache_format=kv_format or "bf16")
    if name == "torch":
        from ownlm.model.ops.torch import TorchOps

        if kv_format not in (None, "f32"):
            raise InvalidSetting("kv_format", kv_format, "the torch side keeps f32: give that, or nothing")

        return TorchOps()
    raise InvalidSetting("ops", name, f"give one of {', '.join(SIDES)}")

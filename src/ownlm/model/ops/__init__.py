"""The operations that models are written over, and the sides that compute them: kernels for CPUs, a GPU, the oracle."""

from __future__ import annotations

from ownlm.errors import InvalidSetting
from ownlm.model.ops.base import Ops as Ops
from ownlm.model.ops.packing import RESCORE_FROM

SIDES = ("native", "cuda", "torch")


HEADS = ("rescored", "exact")


def load(name: str, *, head: str = "exact", rescore_from: int | None = None) -> Ops:
    """The side called ``name``; each is imported only when asked for.

    ``head``: how the native side computes logits, see ``NativeOps``; the torch side's head is always exact.
    """
    if head not in HEADS:
        raise InvalidSetting("head", head, f"give one of {', '.join(HEADS)}")
    if name == "native":
        from ownlm.model.ops.native import NativeOps

        least = RESCORE_FROM if rescore_from is None else rescore_from
        return NativeOps(head="rescored" if head == "rescored" else "exact", rescore_from=least)
    if name == "cuda":
        from ownlm.model.ops.cuda import CudaOps

        return CudaOps()
    if name == "torch":
        from ownlm.model.ops.torch import TorchOps

        return TorchOps()
    raise InvalidSetting("ops", name, f"give one of {', '.join(SIDES)}")

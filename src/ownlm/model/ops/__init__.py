"""The operations that models are written over, and the two sides that compute them."""

from __future__ import annotations

from ownlm.errors import InvalidSetting
from ownlm.model.ops.base import Ops as Ops

SIDES = ("native", "torch")


def load(name: str) -> Ops:
    """The side called ``name``; each is imported only when asked for."""
    if name == "native":
        from ownlm.model.ops.native import NativeOps

        return NativeOps()
    if name == "torch":
        from ownlm.model.ops.torch import TorchOps

        return TorchOps()
    raise InvalidSetting("ops", name, f"give one of {', '.join(SIDES)}")

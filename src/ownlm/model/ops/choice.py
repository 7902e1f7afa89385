"""Which side computes: a GPU that is there and has room for the model, else the CPU.

Torch is imported only where the driver of an NVIDIA GPU is found.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ownlm.errors import InvalidSetting
from ownlm.model import memory
from ownlm.model.ops import SIDES

CAPABILITY = (8, 0)
"""The oldest that multiplies bfloat16 (Ampere, 2020)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A side, the bytes that a model can have there, where that is, and what a user should know."""

    ops: str
    free: int
    where: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """The device that computes; ``free`` bytes."""

    name: str
    free: int


def choose(ops: str, needed: Callable[[], int]) -> Choice:
    """The side for ``ops``: "auto", or one of ``SIDES``. ``needed``: bytes on a GPU of weights, a small cache and work.

    Raises InvalidSetting for another name, and for "cuda" where no GPU can compute.
    """
    if ops not in ("auto", *SIDES):
        raise InvalidSetting("ops", ops, f"give auto or one of {', '.join(SIDES)}")
    if ops in ("native", "torch"):
        return Choice(ops, memory.available())
    found = gpu() if ops == "cuda" or has_driver() else ""
    if isinstance(found, Gpu):
        wanted = needed()
        if ops == "cuda" or wanted <= found.free:  # one that is asked for and too small is refused with its numbers
            return Choice("cuda", found.free, "on the GPU", (f"computed on the GPU, {found.name}",))
        found = f"the model needs {wanted / 1e9:.2f} GB there, and {found.free / 1e9:.2f} GB of {found.name} are free"
    if ops == "cuda":
        raise InvalidSetting("device", "cuda", f"{found}; or use the CPU")
    notes = (f"computed on the CPU: there is a GPU, but {found}",) if found else ()
    return Choice("native", memory.available(), notes=notes)


def gpu() -> Gpu | str:
    """The GPU that torch would compute on, or why there is none."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install 'ownlm[train]'"
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU that it can use: it needs an NVIDIA driver, and a build of torch for CUDA"
    name = torch.cuda.get_device_name()
    if torch.cuda.get_device_capability() < CAPABILITY:
        return f"{name} is too old to multiply bfloat16"
    return Gpu(name, torch.cuda.mem_get_info()[0])


def has_driver() -> bool:
    """Whether an NVIDIA driver is installed; costs well under a millisecond where there is none."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True

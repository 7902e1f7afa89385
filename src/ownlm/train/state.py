"""A run's checkpoints: everything that its next step depends on."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ownlm.errors import CorruptModel, DiskFull
from ownlm.files import atomic_write

FLAT = "flat.pt"
"""The last state before the learning rate began to fall: where a longer run goes on."""


@dataclass(slots=True)
class State:
    """``step`` steps are done, in ``seconds`` of computing; ``recipe`` is the run's, as JSON."""

    step: int
    seconds: float
    tokens: int
    recipe: dict[str, Any]
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    average: dict[str, torch.Tensor] | None
    first_loss: float
    dtype: str


class Checkpoints:
    """``folder`` holds step-NNNNNNNN.pt, the newest ``keep`` of them, and flat.pt."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def list(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, state: State, name: str | None = None) -> Path:
        """Write, then remove what is too old. Raises DiskFull; what was there before is kept."""
        path = self.folder / (name or f"step-{state.step:08}.pt")
        values = {field: getattr(state, field) for field in State.__slots__}
        try:
            with atomic_write(path) as file:
                torch.save(values, file)
        except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
            full = isinstance(error, RuntimeError) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            if full:
                raise DiskFull(path) from None
            raise
        if name is None:
            for old in self.list()[: -self.keep]:
                old.unlink()
        return path

    def load(self, path: Path) -> State:
        """Raises CorruptModel for anything but a checkpoint."""
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            return State(**values)
        except Exception as error:
            raise CorruptModel(f"{path} is no checkpoint of a training run ({error}): remove it") from None

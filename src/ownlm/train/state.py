"""A run's checkpoints: everything that its next step depends on."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ownlm.errors import CorruptModel, DiskFull
from ownlm.files import atomic_write
from ownlm.train.distributed import World

FLAT = "flat"
"""The last state before the learning rate began to fall: where a longer run goes on."""


@dataclass(slots=True)
class State:
    """``step`` steps are done, in ``seconds`` of computing; ``recipe`` is the run's, as JSON."""

    step: int
    seconds: float
    tokens: int
    recipe: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: dict[str, Tensor] | None
    first_loss: float
    dtype: str


class Checkpoints:
    """``folder`` holds step-NNNNNNNN.pt, the newest ``keep`` of them, and flat.pt; of several processes, folders
    without the ``.pt`` (see ``sharded``). Each number of processes reads what any other wrote.
    """

    def __init__(self, folder: Path, keep: int, world: World) -> None:
        self.folder, self.keep, self.world = folder, keep, world

    def list(self) -> list[Path]:
        """Oldest first."""
        found = (path for path in self.folder.glob("step-*") if path.suffix == ".pt" or path.is_dir())
        return sorted(found, key=lambda path: path.stem)

    def flat(self) -> Path | None:
        """The state before the learning rate began to fall, the newer one where there are two."""
        found = [path for path in (self.folder / f"{FLAT}.pt", self.folder / FLAT) if path.exists()]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def save(self, state: State, name: str | None = None) -> Path:
        """Write, then remove what is too old. Raises DiskFull; what was there before is kept. All processes call it."""
        path = self.folder / (name or f"step-{state.step:08}")
        values = {field: getattr(state, field) for field in State.__slots__}
        if self.world.size > 1:
            from ownlm.train import sharded

            sharded.save(path, values, self.world)
        else:
            path = path.with_suffix(".pt")
            _save(path, values)
        if name is None and self.world.leads:
            for old in self.list()[: -self.keep]:
                if old.is_dir():
                    shutil.rmtree(old)
                else:
                    old.unlink()
        self.world.wait()
        return path

    def load(self, path: Path, model: nn.Module, optimizer: Optimizer) -> State:
        """The state, dealt out as the model's weights are. Raises CorruptModel for anything but a checkpoint."""
        like = _like(model, optimizer)
        if path.is_dir():
            from ownlm.train import sharded

            def room(name: str, size: torch.Size, dtype: torch.dtype) -> Tensor:
                part = like.get(name.rsplit("/", 1)[0] if name.startswith("optimizer/") else name)
                if part is None or part.shape != size:
                    return torch.empty(size, dtype=dtype)
                return torch.empty_like(part, dtype=dtype)

            values = sharded.load(path, room, self.world)
        else:
            values = _load(path)
        try:
            state = State(**values)
        except TypeError as error:
            raise CorruptModel(f"{path} is no checkpoint of a training run ({error}): remove it") from None
        if self.world.size > 1:
            _spread(state, like, self.world)
        return state


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What a model learns; what is tied is one tensor under two names. Frozen weights are in their own files."""
    found: dict[str, Tensor] = model.state_dict()
    seen: dict[int, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[name] = seen.setdefault(id(parameter), parameter.detach())
        if not parameter.requires_grad:
            del found[name]
    return found


def restore(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """The way back of ``weights``. Raises CorruptModel if they are another model's."""
    wanted = weights(model).keys()
    if wanted != values.keys():
        raise CorruptModel(f"the checkpoint has other weights, such as {min(wanted ^ values.keys())}: start a new run")
    try:
        model.load_state_dict(dict(values), strict=False)
    except RuntimeError as error:
        raise CorruptModel(f"the checkpoint is of another shape: {str(error).splitlines()[-1].strip()}") from None


def _like(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The parameter that a part of a state belongs to, by the path of that part."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[f"model/{name}"] = found[f"average/{name}"] = parameter.detach()
    members = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return found | {f"optimizer/state/{at}": parameter.detach() for at, parameter in enumerate(members)}


def _spread(state: State, like: Mapping[str, Tensor], world: World) -> None:
    """Deal out what every process has whole."""
    for kind, tensors in (("model", state.model), ("average", state.average or {})):
        for name, tensor in tensors.items():
            tensors[name] = world.spread(tensor, like[f"{kind}/{name}"])
    for at, kept in state.optimizer["state"].items():
        for key, tensor in kept.items():
            kept[key] = world.spread(tensor, like[f"optimizer/state/{at}"])


def _save(path: Path, values: dict[str, Any]) -> None:
    try:
        with atomic_write(path) as file:
            torch.save(values, file)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        if isinstance(error, RuntimeError) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(path) from None
        raise


def _load(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CorruptModel(f"{path} is no checkpoint of a training run ({error}): remove it") from None
    return values

"""What a training step keeps in memory, counted: weights, gradients, the optimizer's state, activations."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.train.distributed import local


@dataclass(frozen=True, slots=True)
class TrainMemory:
    """Bytes of one process. ``average``: of the weights; ``activations``: what one forward keeps for its backward pass;
    ``logits``: the chunk of logits that is at hand, and its gradient; ``update``: what the optimizer stacks.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    logits: int
    update: int

    @property
    def total(self) -> int:
        """The most that is there at a time: at the end of a forward, or while the weights are moved."""
        stays = self.weights + self.gradients + self.optimizer + self.average
        return stays + max(self.activations + self.logits, self.update)

    def to_json(self) -> dict[str, int]:
        """For ``metrics.jsonl``."""
        return {name: getattr(self, name) for name in self.__slots__} | {"total": self.total}


def weights_and_gradients(model: nn.Module) -> tuple[int, int]:
    """Bytes of parameters and buffers, each once, and of the gradients of those that learn. On a CPU also what the
    model keeps to write its checkpoint from."""
    parameters = list(model.parameters())
    held = _distinct([*parameters, *model.buffers()])
    stored = getattr(model, "stored", {}) if all(part.device.type == "cpu" for part in parameters) else {}
    held += sum(tensor.array.nbytes for tensor in stored.values())
    return held, _distinct(part for part in parameters if part.requires_grad)


def optimizer_state(state: Any) -> int:
    """Bytes of every tensor in an optimizer's state, however it is nested."""
    return _distinct(_tensors(state))


@dataclass(slots=True)
class Saved:
    """What ``saved_activations`` counts."""

    bytes: int = 0


@contextlib.contextmanager
def saved_activations(model: nn.Module) -> Iterator[Saved]:
    """Counts the bytes that operations in this block keep for a backward pass: every storage once, weights not."""
    found = Saved()
    own = {_place(part) for part in (*model.parameters(), *model.buffers())}
    seen: dict[int, Tensor] = {}  # held while counting, so that no place is handed out twice

    def keep(tensor: Tensor) -> Tensor:
        place = _place(tensor)
        if place and place not in own and place not in seen:
            seen[place] = tensor.detach()
            found.bytes += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


class PeakMemory:
    """How much memory this process came to need since this was made: of the GPU, or resident."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            _warm_up()
            self._before = resident()
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak is what is there now

    def __call__(self) -> int | None:
        """Bytes; None where the system does not say."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device)) - self._before
        peak = most_resident()
        return None if peak is None else max(0, peak - self._before)


def resident() -> int:
    """Bytes of this process that are in memory now; 0 where the system does not say."""
    try:
        import resource

        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, ImportError):
        return 0


def _warm_up() -> None:
    """A step of nothing: the libraries take what they take at their first use, whatever the model."""
    weight = nn.Parameter(torch.zeros(16, 16))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    nn.functional.scaled_dot_product_attention(weight[None], weight[None], weight[None]).sum().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([weight], 1.0)
    optimizer.step()


def most_memory(device: torch.device) -> int | None:
    """The most bytes that this process held, of the GPU or resident; None where the system does not say."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else most_resident()


def most_resident() -> int | None:
    """The most bytes of this process that were in memory; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _distinct(tensors: Iterable[Tensor]) -> int:
    return sum({_place(part): part.untyped_storage().nbytes() for part in map(local, tensors)}.values())


def _place(tensor: Tensor) -> int:
    return local(tensor).untyped_storage().data_ptr()


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for part in state.values():
            yield from _tensors(part)
    elif isinstance(state, list | tuple):
        for part in state:
            yield from _tensors(part)

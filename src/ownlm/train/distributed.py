"""Several processes that train one model, started by torchrun: each holds its part of every weight (FSDP2).

A block's weights are gathered while it computes, its gradients are summed and dealt out again (``fully_shard``, Zhao et
al. 2023, arXiv:2304.11277). Rows of a step are dealt out too; sums of losses, counts and gradients are those of all
processes, so that a step is the same for every number of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ownlm.errors import InvalidSetting, OwnLMError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from ownlm.train.decoder import Decoder

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long the others wait for one: reading a corpus for the first time takes its time."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among the ``size`` that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mesh: DeviceMesh | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leader's body runs before that of the others, which find what it wrote."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Of each value the sum over all processes; every process must name the same."""
        if self.size == 1:
            return dict(values)
        together = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(together)
        return dict(zip(values, together.tolist(), strict=True))

    def of_leader(self, value: float) -> float:
        """The leader's: clocks differ, and what hangs on one must be the same everywhere."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(told, 0)
        return float(told.item())

    def shard(self, model: Decoder) -> None:
        """Deal out a model's weights; every process has the whole of them before, and the same."""
        if self.size == 1:
            return
        from torch.distributed.fsdp import fully_shard

        assert self.mesh is not None
        for block in model.layers():
            fully_shard(block, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)

    def dealt(self, batches: Iterable[T]) -> Iterator[tuple[T, bool]]:
        """This process' batches, as many as every other's, and whether each counts: where they do not come out even,
        the last is computed again by those who have none.
        """
        group: list[T] = []
        for batch in batches:
            group.append(batch)
            if len(group) == self.size:
                yield group[self.rank], True
                group = []
        if group:
            yield group[min(self.rank, len(group) - 1)], self.rank < len(group)

    def sync_gradients(self, model: nn.Module, last: bool) -> None:
        """Gradients of a step's parts are summed here and dealt out with its last one."""
        if self.size > 1:
            model.set_requires_gradient_sync(last)  # type: ignore[operator]

    @contextlib.contextmanager
    def gathered(self, model: nn.Module) -> Iterator[None]:
        """Within, every process has all weights; the model must not compute. All processes come here."""
        for part in self._parts(model):
            part.unshard()
        try:
            yield
        finally:
            self.scatter(model)

    def scatter(self, model: nn.Module) -> None:
        """Let go of gathered weights: after a forward without a backward some are still there."""
        for part in self._parts(model):
            part.reshard()

    def _parts(self, model: nn.Module) -> list[Any]:
        if self.size == 1:
            return []
        from torch.distributed.fsdp import FSDPModule

        return [module for module in model.modules() if isinstance(module, FSDPModule)]

    def spread(self, whole: Tensor, like: Tensor) -> Tensor:
        """This process' part of a tensor that all have whole, dealt out as ``like`` is."""
        if is_spread(whole) or not is_spread(like) or whole.shape != like.shape:
            return whole
        from torch.distributed.tensor import distribute_tensor

        placed: Any = like
        # Every process has it, so nothing is sent.
        return distribute_tensor(whole.to(self.device), placed.device_mesh, placed.placements, src_data_rank=None)


def alone() -> World:
    """This process, on its GPU where it has one."""
    return World(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun started this process in; without torchrun, this process alone. Raises InvalidSetting."""
    size = _number("WORLD_SIZE", 1)
    cuda = torch.cuda.is_available()
    if size == 1:
        yield alone()
        return
    local = _number("LOCAL_RANK", 0)
    if cuda and local >= torch.cuda.device_count():
        remedy = f"there are {torch.cuda.device_count()} GPUs here; give torchrun --nproc-per-node as many at most"
        raise InvalidSetting("LOCAL_RANK", local, remedy)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        from torch.distributed.device_mesh import init_device_mesh

        mesh = init_device_mesh(device.type, (size,))
        yield World(dist.get_rank(), size, device, mesh)
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise OwnLMError(f"process {os.environ.get('RANK')} of {size} lost another, which said why it ended") from error
    finally:
        dist.destroy_process_group()


def is_spread(tensor: Tensor) -> bool:
    """Whether a tensor is dealt out over processes."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process must ask for it."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def local(tensor: Tensor) -> Tensor:
    """This process' part, which shares its memory: what it writes there is written."""
    part = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def of_whole(compute: Callable[[Tensor], Tensor], parts: Tensor, like: Tensor) -> Tensor:
    """``compute`` of whole matrices [n, N, K], of which ``parts`` [n, rows, K] are this process' rows, dealt out as
    ``like`` [N, K] is; the same rows of the result. Each process computes its share of the n.
    """
    if not is_spread(like):
        return compute(parts)
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    spread: Any = like
    mesh, count = spread.device_mesh, len(parts)
    shape = torch.Size((count, *like.shape))
    stride = (like.shape[0] * like.shape[1], like.shape[1], 1)
    stacked = DTensor.from_local(parts, mesh, [Shard(1)], shape=shape, stride=stride)
    share = -(-count // mesh.size())
    padded = parts.new_zeros(share * mesh.size(), *like.shape)
    padded[:count] = stacked.full_tensor()
    first = mesh.get_local_rank() * share
    found = DTensor.from_local(compute(padded[first : first + share]), mesh, [Shard(0)]).full_tensor()[:count]
    return distribute_tensor(found.contiguous(), mesh, [Shard(1)], src_data_rank=None).to_local()


def _lost(error: RuntimeError) -> bool:
    """Whether another process is gone: gloo and NCCL have no exception of their own for it."""
    return isinstance(error, dist.DistError) or "onnection" in str(error)


def _number(name: str, otherwise: int) -> int:
    value = os.environ.get(name)
    if value is None:
        return otherwise
    try:
        return int(value)
    except ValueError:
        raise InvalidSetting(name, value, "torchrun sets it to a number; unset it to train in one process") from None

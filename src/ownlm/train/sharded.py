"""Checkpoints of several processes: each writes its part, and any number of processes reads them again.

A folder with the parts as safetensors (``torch.distributed.checkpoint`` over its Hugging Face storage, which unpickles
nothing) and ``state.json`` with what is no tensor. It is written under another name and renamed when all is there.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from ownlm.errors import CorruptModel, DiskFull, MissingExtra
from ownlm.files import atomic_write
from ownlm.train.distributed import World

try:
    import safetensors  # noqa: F401  # what the storage writes with
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
except ModuleNotFoundError as error:
    raise MissingExtra("train", error.name or "safetensors") from None

FACTS = "state.json"
Like = Callable[[str, torch.Size, torch.dtype], Tensor]
"""An empty tensor to read a named one into: whole, or the part that is this process'."""


def save(folder: Path, values: dict[str, Any], world: World) -> None:
    """Write nested ``values`` (dicts, tensors, plain values). All processes call it. Raises DiskFull."""
    tensors: dict[str, Tensor] = {}
    facts = _apart(values, "", tensors, {})
    partial = folder.with_name(f".{folder.name}.partial")
    if world.leads:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    world.wait()
    try:
        writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        save_parts(tensors, storage_writer=writer, no_dist=world.size == 1)
        if world.leads:
            with atomic_write(partial / FACTS) as file:
                file.write(json.dumps(facts).encode())
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    except OSError:
        raise DiskFull(folder) from None
    except CheckpointException as error:
        if any(isinstance(each, OSError) for each, _ in error.failures.values()):
            raise DiskFull(folder) from None
        raise
    world.wait()


def load(folder: Path, like: Like, world: World) -> dict[str, Any]:
    """What was saved. All processes call it. Raises CorruptModel."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        reader = HuggingFaceStorageReader(str(folder))
        kept = reader.read_metadata().state_dict_metadata
        tensors = {
            name: like(name, about.size, about.properties.dtype)
            for name, about in kept.items()
            if isinstance(about, TensorStorageMetadata)
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # which is what was asked for
            load_parts(tensors, storage_reader=reader, no_dist=world.size == 1)
    except (OSError, ValueError, KeyError, CheckpointException) as error:
        raise CorruptModel(f"{folder} is no checkpoint of a training run ({error}): remove it") from None
    values: dict[str, Any] = _together(tensors, facts)
    return values


def _apart(values: Any, path: str, tensors: dict[str, Tensor], seen: dict[int, str]) -> Any:
    """The values with the paths of tensors in their places; ``tensors`` by path, each once, scalars as one value."""
    if isinstance(values, Tensor):
        name = seen.setdefault(id(values), path)
        if name == path:
            tensors[path] = values if values.dim() else values[None]
        return {"tensor": name, "scalar": not values.dim()}
    if not isinstance(values, dict):
        return {"value": values}
    return {"dict": [[key, _apart(part, f"{path}/{key}".lstrip("/"), tensors, seen)] for key, part in values.items()]}


def _together(tensors: dict[str, Tensor], facts: Any) -> Any:
    if "dict" in facts:
        return {key: _together(tensors, rest) for key, rest in facts["dict"]}
    if "tensor" in facts:
        found = tensors[facts["tensor"]]
        return found[0] if facts["scalar"] else found
    return facts["value"]

"""Adapters merged into their base: a model as any other, which every engine reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ownlm.files import atomic_json
from ownlm.formats import bfloat16
from ownlm.model import checkpoint
from ownlm.model.block_policy import is_turned, plain
from ownlm.model.safetensors import DTYPES, Tensor
from ownlm.train.decoder import Decoder
from ownlm.train.lora import Adapted, AdapterSettings, new_adapters
from ownlm.train.peft_files import load_adapters, write_adapters

ADAPTER = "adapter"
"""The folder, beside the merged model's, that has the adapter itself."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """New adapters, or those of the folder ``start``, are trained; written are the adapter and the merged model: a
    ``recipe.Tuning``. ``base`` names the model that the adapter belongs to."""

    settings: AdapterSettings = field(default_factory=AdapterSettings)
    start: Path | None = None
    base: str = ""

    def apply(self, model: Decoder) -> None:
        """See ``recipe.Tuning``."""
        if self.start is None:
            new_adapters(model, self.settings)
        else:
            load_adapters(model, self.start)

    def write(self, model: Decoder, folder: Path) -> None:
        """See ``recipe.Tuning``."""
        write_adapters(model, folder.parent / ADAPTER, self.base)
        write_merged(model, folder)


def write_merged(model: Decoder, folder: Path) -> None:
    """Weights and config.json of ``merged``."""
    tensors = merged(model)
    atomic_json(folder / "config.json", _config(model.raw, tensors))
    checkpoint.write(folder, tensors)


def _config(raw: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What held of the base's blocks, or of its type of numbers, may no longer do so."""
    found = dict(raw)
    stated = found.get("quantization_config")
    if isinstance(stated, dict) and stated.get("quant_method") == "ownlm":
        del found["quantization_config"]
    types = {tensor.dtype for tensor in tensors.values() if len(tensor.shape) > 1}
    for name in ("dtype", "torch_dtype"):
        if name in found and types == {"F32"}:
            found[name] = "float32"
    return found


def merged(model: Decoder) -> dict[str, Tensor]:
    """The tensors of the model as one. What its base has as blocks becomes float32; other types stay.

    The base's own tensors are left as they are.
    """
    found = {name: plain(tensor) for name, tensor in model.tensors().items()}
    changed: dict[str, NDArray[np.float32]] = {}
    for part in model.modules():
        if not isinstance(part, Adapted):
            continue
        name = part.base.matrix.name
        whole = changed.setdefault(name, np.array(found[name].float32()))
        rows = whole.T if is_turned(name) else whole
        with torch.no_grad():
            rows[part.rows] = part.value().cpu().numpy()
    for name, values in changed.items():
        found[name] = _stored(found[name], values)
    return found


def _stored(tensor: Tensor, values: NDArray[np.float32]) -> Tensor:
    if tensor.dtype == "BF16":
        return Tensor(tensor.name, tensor.dtype, bfloat16.from_float32(values), tensor.format)
    return Tensor(tensor.name, tensor.dtype, values.astype(DTYPES[tensor.dtype]), tensor.format)

"""Adapters as files: PEFT's layout both ways (``adapter_config.json``, ``adapter_model.safetensors``); MLX's is read.

What would make another model of the files is refused by name. https://github.com/huggingface/peft
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel
from ownlm.files import atomic_json
from ownlm.model import safetensors
from ownlm.model.config import read_json
from ownlm.train.decoder import Decoder
from ownlm.train.lora import Adapter, adapt, adaptable, adapters

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MLX_WEIGHTS = "adapters.safetensors"
_BEFORE = "base_model.model."
_KEY = re.compile(r"(?P<module>.+?)\.lora_(?P<part>A|B|magnitude_vector|a|b)(?:\.(?!weight)[^.]+)?(?:\.weight)?")
_PLACE = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)\.(.+)$")
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the base's weights as they are."""

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stored:
    """One linear layer's adapter in a file: ``a`` [rank, K], ``b`` [N, rank], ``lengths`` [N] or None."""

    a: Values
    b: Values
    lengths: Values | None
    alpha: float
    scaling: float


def write_adapters(model: Decoder, folder: Path, base: str) -> None:
    """Write the model's adapters as PEFT loads them; ``base`` names the model that they belong to."""
    found = adapters(model)
    outer = "transformer." if model.config.model_type == "gpt2" else ""
    tensors: dict[str, tuple[str, Any]] = {}
    for name, adapter in found.items():
        at = f"{_BEFORE}{'' if name.startswith(outer) else outer}{name}.lora_"
        tensors[f"{at}A.weight"] = "F32", _array(adapter.a)
        tensors[f"{at}B.weight"] = "F32", _array(adapter.b)
        if adapter.lengths is not None:
            tensors[f"{at}magnitude_vector"] = "F32", _array(adapter.lengths)
    atomic_json(folder / CONFIG, _config(model, found, base), sort_keys=True)
    safetensors.write(folder / WEIGHTS, tensors, {"format": "pt"})


def _config(model: Decoder, found: Mapping[str, Adapter], base: str) -> dict[str, Any]:
    ranks = Counter(adapter.rank for adapter in found.values())
    alphas = Counter(adapter.scaling * adapter.rank for adapter in found.values())
    rank, alpha = ranks.most_common(1)[0][0], alphas.most_common(1)[0][0]
    last = {name.rpartition(".")[2] for name in found}
    every = {name for name in adaptable(model) if name.rpartition(".")[2] in last} == found.keys()
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(last if every else found),
        "rank_pattern": {name: one.rank for name, one in found.items() if one.rank != rank},
        "alpha_pattern": {
            name: one.scaling * one.rank for name, one in found.items() if one.scaling * one.rank != alpha
        },
        "bias": "none",
        "fan_in_fan_out": model.config.model_type == "gpt2",
        "init_lora_weights": True,
        "inference_mode": True,
        "use_dora": any(adapter.lengths is not None for adapter in found.values()),
        "use_rslora": False,
        "modules_to_save": None,
    }


def load_adapters(model: Decoder, folder: Path) -> None:
    """Put the adapters of a folder on the model; nothing but them is trained from now on.

    Raises NotFound, CorruptModel for files that do not belong to the model, UnsupportedModel.
    """
    stored = read_adapters(folder)
    layers = adaptable(model)
    by_place = {_place(name): name for name in layers}
    model.requires_grad_(False)
    made: dict[str, Adapter] = {}
    for module, one in stored.items():
        name = by_place.get(_place(module))
        if name is None:
            raise CorruptModel(
                f"{folder}: the model has no linear layer {module}: is it the one that the adapter is of?"
            )
        parts = layers[name]
        shape = sum(part.shape[0] for part in parts), parts[0].shape[1]
        if (len(one.b), one.a.shape[1]) != shape:
            raise CorruptModel(
                f"{folder}: {module} is {len(one.b)} x {one.a.shape[1]} there, {shape[0]} x {shape[1]} here"
            )
        made[name] = _adapter(name, shape, one)
    adapt(model, made)


def _adapter(name: str, shape: tuple[int, int], one: Stored) -> Adapter:
    adapter = Adapter(name, shape, len(one.a), one.alpha, one.scaling)
    with torch.no_grad():
        adapter.a.copy_(torch.from_numpy(one.a))
        adapter.b.copy_(torch.from_numpy(one.b))
    if one.lengths is not None:
        adapter.lengths = nn.Parameter(torch.from_numpy(one.lengths))
    return adapter


def read_adapters(folder: Path) -> dict[str, Stored]:
    """By module, as the files call it. Raises NotFound, CorruptModel or UnsupportedModel."""
    if not (folder / CONFIG).is_file():
        raise NotFound(f"{folder} has no {CONFIG}: give a folder with an adapter of PEFT or MLX")
    config = read_json(folder / CONFIG)
    mlx = not (folder / WEIGHTS).is_file() and (folder / MLX_WEIGHTS).is_file()
    if not mlx and not (folder / WEIGHTS).is_file():
        raise NotFound(f"{folder} has no {WEIGHTS}: an adapter in another format must be converted to safetensors")
    tensors = safetensors.read(folder / (MLX_WEIGHTS if mlx else WEIGHTS)).tensors
    if not mlx:
        _check(config, folder)
    parts: dict[str, dict[str, Values]] = {}
    for key, tensor in tensors.items():
        known = _KEY.fullmatch(key.removeprefix(_BEFORE))
        if known is None:
            raise UnsupportedModel(f"{folder}: tensor {key} is of no adapter on a linear layer; only such are read")
        values = np.array(tensor.float32())
        part = known["part"]
        parts.setdefault(known["module"], {})[part.upper() if len(part) == 1 else part] = values.T if mlx else values
    return {module: _stored(module, found, config, folder, mlx) for module, found in parts.items()}


def _stored(module: str, found: Mapping[str, Values], config: Mapping[str, Any], folder: Path, mlx: bool) -> Stored:
    a, b = found.get("A"), found.get("B")
    if a is None or b is None or a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
        raise CorruptModel(f"{folder}: {module} has no A [rank, inputs] and B [outputs, rank] of one rank")
    lengths = found.get("magnitude_vector")
    if (lengths is not None) != bool(config.get("use_dora")) or (lengths is not None and lengths.shape != (len(b),)):
        raise CorruptModel(f"{folder}: use_dora is {config.get('use_dora', False)}, which {module} does not agree with")
    rank = len(a)
    try:
        if mlx:
            scaling = float(config["lora_parameters"]["scale"])
            alpha = scaling * rank
        else:
            alpha = float(_patterned(config.get("alpha_pattern") or {}, module, config["lora_alpha"]))
            scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except (KeyError, TypeError, ValueError):
        where = "lora_parameters.scale" if mlx else "lora_alpha"
        raise CorruptModel(f"{folder / CONFIG} has no number {where}") from None
    return Stored(a, b, lengths, alpha, scaling)


def _patterned(patterns: Mapping[str, Any], module: str, usual: Any) -> Any:
    """The value of the first pattern that is the module's name, or its end after a dot."""
    for pattern, value in patterns.items():
        try:
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
                return value
        except re.error:
            raise ValueError(f"{pattern!r} is no pattern") from None
    return usual


def _check(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse what would change the model otherwise than A and B do."""
    wrong = {
        "peft_type": config.get("peft_type") != "LORA",
        "bias": config.get("bias", "none") != "none",
        "lora_bias": bool(config.get("lora_bias")),
        "modules_to_save": bool(config.get("modules_to_save")),
        "trainable_token_indices": bool(config.get("trainable_token_indices")),
        "layer_replication": bool(config.get("layer_replication")),
        "target_parameters": bool(config.get("target_parameters")),
        "init_lora_weights": config.get("init_lora_weights") not in _PLAIN_STARTS,
    }
    for setting in (name for name, found in wrong.items() if found):
        raise UnsupportedModel(f"{folder / CONFIG}: {setting} is {config.get(setting)!r}, which is not read here")


def _place(name: str) -> tuple[str, str]:
    """Which layer, and which part of it: the same whatever the model calls what is around its layers."""
    found = _PLACE.search(name)
    return (found[1], found[2]) if found else ("", name)


def _array(parameter: nn.Parameter) -> Values:
    # A copy: memory that NumPy has seen cannot be dealt out to several processes again.
    return parameter.detach().to("cpu", torch.float32, copy=True).numpy()

"""A model's tensors, under Hugging Face names, as the tensors of a GGUF file: the way back of ``gguf.tensors``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, InvalidSetting, UnsupportedModel
from ownlm.formats import FORMATS, bfloat16, mxfp4
from ownlm.model.gguf.architectures import Architecture
from ownlm.model.gguf.tensors import STACKED, TRANSPOSED, permuted
from ownlm.model.gguf.write import Planned
from ownlm.model.safetensors import Tensor

PLAIN = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
TYPES = (*PLAIN, *FORMATS)
_LARGEST_HALF = 65504
# Small, and read as float32 by every engine.
_ALWAYS_F32 = ("ffn_gate_inp", "position_embd", "attn_sinks")
# Buffers that old checkpoints keep.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


class Types:
    """Which type each tensor is written in. ``to`` None keeps each one's own; ``overrides`` by pattern go first."""

    def __init__(self, to: str | None, overrides: Mapping[str, str] | None = None) -> None:
        self._to = to
        self._overrides = dict(overrides or {})
        for setting, value in [("type", to), *self._overrides.items()]:
            if value is not None and value not in TYPES:
                raise InvalidSetting(setting, value, f"give one of {', '.join(TYPES)}")

    def of(self, name: str, tensor: Tensor, columns: int) -> str:
        """The type for a matrix; where its rows are no whole blocks, the next larger one that fits."""
        wanted = next((to for pattern, to in self._overrides.items() if fnmatchcase(name, pattern)), self._to)
        if wanted is None:
            return tensor.format or (tensor.dtype if tensor.dtype in PLAIN.values() else "F32")
        if wanted in PLAIN:
            return PLAIN[wanted]
        if columns % FORMATS[wanted].block == 0:
            return wanted
        return "q8_0" if columns % FORMATS["q8_0"].block == 0 else "F16"


def plan(
    tensors: Mapping[str, Tensor], kind: Architecture, config: Mapping[str, Any], types: Types, where: Path
) -> dict[str, Planned]:
    """Every tensor to write, by GGUF's name, in the order of the layers.

    Raises CorruptModel for a tensor that is missing, UnsupportedModel for one that the family does not have.
    """
    left = {
        name if kind.name != "gpt2" or name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
        for name, tensor in tensors.items()
        if not name.endswith(_BUFFERS)
    }
    if config.get("tie_word_embeddings", kind.name in ("gpt2", "gemma2", "gemma3")):
        left.pop("lm_head.weight", None)
    elif "lm_head.weight" not in left:
        raise CorruptModel(f"{where}: tensor lm_head.weight is missing, and tie_word_embeddings is false")
    found = dict(_plan(left, kind, config, types, where))
    if left:
        raise UnsupportedModel(f"{where}: tensor {sorted(left)[0]} has no place in GGUF's {kind.name}")
    return found


def _plan(
    left: dict[str, Tensor], kind: Architecture, config: Mapping[str, Any], types: Types, where: Path
) -> Iterator[tuple[str, Planned]]:
    layers = config["num_hidden_layers" if "num_hidden_layers" in config else "n_layer"]

    def pair(ours: str, theirs: str, part: str) -> Iterator[tuple[str, Planned]]:
        weight = theirs if part == "attn_sinks" else f"{theirs}.weight"
        if weight not in left and part != "output":
            raise CorruptModel(f"{where}: tensor {weight} is missing")
        for name, suffix in ((weight, "weight"), (f"{theirs}.bias", "bias")):
            if name in left:
                yield f"{ours}.{suffix}", _one(name, left.pop(name), kind, config, types, part, where)

    for part, theirs in kind.model.items():
        if part != "output" or "lm_head.weight" in left:
            yield from pair(part, theirs, part)
    for layer in range(layers):
        at = f"{kind.layer_prefix}.{layer}"
        for part, theirs in kind.layers.items():
            yield from pair(f"blk.{layer}.{part}", f"{at}.{theirs}", part)
        if kind.experts:
            count = config.get("num_experts") or config["num_local_experts"]
            for part, theirs in zip(STACKED, kind.experts, strict=True):
                names = [f"{at}.{theirs.format(e=expert)}.weight" for expert in range(count)]
                missing = [name for name in names if name not in left]
                if missing:
                    raise CorruptModel(f"{where}: tensor {missing[0]} is missing")
                yield f"blk.{layer}.{part}.weight", _stacked([left.pop(name) for name in names], types, where)
        if kind.name == "gpt-oss":
            yield from _parted(left, f"blk.{layer}", f"{at}.mlp.experts", types, where)


def _one(
    name: str,
    tensor: Tensor,
    kind: Architecture,
    config: Mapping[str, Any],
    types: Types,
    part: str,
    where: Path,
) -> Planned:
    change: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    shape = tensor.weights_shape
    turned = kind.transposed and part in TRANSPOSED and len(shape) == 2
    if turned:
        shape, change = shape[::-1], np.transpose
    elif kind.permuted and part in ("attn_q", "attn_k"):
        heads = config["num_attention_heads"]
        heads = heads if part == "attn_q" else config.get("num_key_value_heads") or heads
        if shape[0] % (2 * heads):
            raise CorruptModel(f"{where}: tensor {name} has shape {shape}, which {heads} heads do not divide evenly")
        change = partial(permuted, heads=heads)
    elif kind.norm_offset and part.endswith("norm"):
        change = _plus_one
    to = "F32" if len(shape) < 2 or part in _ALWAYS_F32 else types.of(name, tensor, shape[-1])
    as_is = not turned or not tensor.format
    return Planned(to, shape, partial(_stored, tensor, to, change, as_is))


def _plus_one(w: NDArray[Any]) -> NDArray[Any]:
    added: NDArray[Any] = w.astype(np.float32) + np.float32(1)
    return added


def _stored(
    tensor: Tensor, to: str, change: Callable[[NDArray[Any]], NDArray[Any]] | None, as_is: bool = True
) -> NDArray[Any]:
    if as_is and to == (tensor.format or tensor.dtype):
        return tensor.array if change is None else change(tensor.array)
    w = tensor.float32()
    return encoded(w if change is None else change(w), to, tensor.name)


def encoded(w: NDArray[np.float32], to: str, name: str) -> NDArray[Any]:
    """float32 weights as they are stored in a type: float32, float16, bits of bfloat16, or blocks."""
    if to in FORMATS:
        try:
            return FORMATS[to].quantize(w)
        except ValueError as error:
            raise CorruptModel(f"tensor {name} cannot be quantized: {error}") from None
    if to == "F32":
        return w
    if to == "BF16":
        return bfloat16.from_float32(w)
    if np.abs(w).max(initial=0) > _LARGEST_HALF:
        raise CorruptModel(f"tensor {name} holds values above {_LARGEST_HALF}, which F16 cannot: choose bf16 or f32")
    return w.astype("<f2")


def _stacked(experts: list[Tensor], types: Types, where: Path) -> Planned:
    first = experts[0]
    for tensor in experts:
        if (tensor.shape, tensor.dtype, tensor.format) != (first.shape, first.dtype, first.format):
            raise CorruptModel(f"{where}: tensors {first.name} and {tensor.name} differ in type or shape")
    to = types.of(first.name, first, first.weights_shape[-1])
    return Planned(
        to, (len(experts), *first.weights_shape), lambda: np.stack([_stored(tensor, to, None) for tensor in experts])
    )


def _parted(left: dict[str, Tensor], ours: str, at: str, types: Types, where: Path) -> Iterator[tuple[str, Planned]]:
    """gpt-oss: ``gate_up_proj`` parted into gate and up; weights as rows."""
    for name, parts in (("gate_up_proj", ((STACKED[0], 0), (STACKED[2], 1))), ("down_proj", ((STACKED[1], None),))):
        rows, bias = _rows(left, f"{at}.{name}", where), left.pop(f"{at}.{name}_bias", None)
        if bias is None:
            raise CorruptModel(f"{where}: tensor {at}.{name}_bias is missing")
        to = types.of(f"{at}.{name}", rows, rows.weights_shape[-1])
        for part, start in parts:
            pick = slice(None) if start is None else slice(start, None, 2)
            for tensor, type_, suffix in ((rows, to, "weight"), (bias, "F32", "bias")):
                picked = Tensor(tensor.name, tensor.dtype, tensor.array[:, pick], tensor.format)
                yield (
                    f"{ours}.{part}.{suffix}",
                    Planned(type_, picked.weights_shape, partial(_stored, picked, type_, None)),
                )


def _rows(left: dict[str, Tensor], name: str, where: Path) -> Tensor:
    if name in left:
        found = left.pop(name)
        return found if found.format else Tensor(name, found.dtype, found.array.swapaxes(1, 2))
    blocks, scales = left.pop(f"{name}_blocks", None), left.pop(f"{name}_scales", None)
    if blocks is None or scales is None:
        raise CorruptModel(f"{where}: tensor {name} is missing")
    try:
        return Tensor(name, "U8", mxfp4.from_pairs(blocks.array, scales.array), "mxfp4")
    except ValueError as error:
        raise CorruptModel(f"{where}: tensor {name}: {error}") from None

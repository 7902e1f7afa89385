"""A GGUF file's tensors under the family's Hugging Face names, and in the Hugging Face layout.

Most are the same bytes and stay mapped. Copied when they are asked for are rows of q and k of Llama-type models, which
GGUF orders so that rotary pairs are neighbours; at once: norms of Gemma, stored with the 1 that is added to them;
GPT-2's transposed matrices, which as blocks have to be dequantized; gate and up projections of gpt-oss, which
interleave.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf import GgufFile
from ownlm.model.gguf import rope as gguf_rope
from ownlm.model.gguf.architectures import Architecture
from ownlm.model.safetensors import Deferred, Tensor

LAYER = re.compile(r"blk\.(0|[1-9][0-9]{0,5})\.([a-z_]+)(?:\.(0|[1-9][0-9]{0,5}))?\.(weight|bias)")
STACKED = ("ffn_gate_exps", "ffn_down_exps", "ffn_up_exps")
_SINGLE = ("ffn_gate", "ffn_down", "ffn_up")  # with a number: experts as files of 2023 keep them
TRANSPOSED = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")


def tensors(file: GgufFile, kind: Architecture, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every tensor but the rope factors, which the config states.

    Raises CorruptModel for a shape or a layer that contradicts the config, UnsupportedModel for an unknown name.
    """
    found: dict[str, Tensor] = {}
    try:
        for name, tensor in file.tensors.items():
            if name in (gguf_rope.FREQS, gguf_rope.LONG, gguf_rope.SHORT):
                continue
            for made in _made(name, tensor, kind, config):
                found[made.name] = made
        if kind.name == "gpt-oss":
            _interleave(found, config)
    except (CorruptModel, UnsupportedModel) as error:
        raise type(error)(f"{file.path}: {error}") from None
    return found


def _made(name: str, tensor: Tensor, kind: Architecture, config: Mapping[str, Any]) -> Iterator[Tensor]:
    stem, _, suffix = name.rpartition(".")
    if stem in kind.model and suffix in ("weight", "bias"):
        yield _renamed(tensor, f"{kind.model[stem]}.{suffix}", _offset(tensor, kind, stem))
        return
    match = LAYER.fullmatch(name)
    layers = config["num_hidden_layers" if "num_hidden_layers" in config else "n_layer"]
    if match is None:
        raise UnsupportedModel(f"tensor {name} is not one that {kind.model_type} has")
    layer, part, expert, suffix = match.groups()
    if int(layer) >= layers:
        raise CorruptModel(f"tensor {name} is of layer {layer}, where block_count is {layers}")
    at = f"{kind.layer_prefix}.{layer}"
    if part in STACKED and expert is None and (kind.experts or kind.name == "gpt-oss"):
        yield from _unstacked(at, part, suffix, tensor, kind, config)
    elif part in _SINGLE and expert is not None and kind.experts:
        where = kind.experts[_SINGLE.index(part)].format(e=int(expert))
        yield _renamed(tensor, f"{at}.{where}.{suffix}")
    elif part in kind.layers and expert is None:
        full = f"{at}.{kind.layers[part]}" + ("" if part == "attn_sinks" else f".{suffix}")
        if kind.permuted and part in ("attn_q", "attn_k"):
            heads = config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
            if not tensor.shape or tensor.shape[0] % (2 * heads):
                raise CorruptModel(f"tensor {name} has shape {tensor.shape}, which {heads} heads do not divide evenly")
            yield Deferred(tensor, full, functools.partial(unpermuted, heads=heads))
        elif kind.transposed and part in TRANSPOSED and suffix == "weight":
            plain = Tensor(name, "F32", tensor.float32()) if tensor.format else tensor
            yield _renamed(plain, full, plain.array.T)
        else:
            yield _renamed(tensor, full, _offset(tensor, kind, part))
    else:
        raise UnsupportedModel(f"tensor {name} is not one that {kind.model_type} has")


def _renamed(tensor: Tensor, name: str, array: NDArray[Any] | None = None) -> Tensor:
    if array is None:
        return Tensor(name, tensor.dtype, tensor.array, tensor.format)
    if array.dtype == np.float32:
        return Tensor(name, "F32", array)
    return Tensor(name, tensor.dtype, array, tensor.format)


def _offset(tensor: Tensor, kind: Architecture, part: str) -> NDArray[Any] | None:
    if not kind.norm_offset or not part.endswith("norm"):
        return None
    plain: NDArray[Any] = tensor.float32() - np.float32(1)
    return plain


def unpermuted(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of each head from pairs (0, h, 1, h + 1, ...) to halves (0, 1, ..., h, h + 1, ...)."""
    split = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def permuted(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """The inverse of ``unpermuted``."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def _unstacked(
    at: str, part: str, suffix: str, tensor: Tensor, kind: Architecture, config: Mapping[str, Any]
) -> Iterator[Tensor]:
    experts = config["num_experts" if "num_experts" in config else "num_local_experts"]
    if len(tensor.shape) != (3 if suffix == "weight" else 2) or tensor.shape[0] != experts:
        raise CorruptModel(f"tensor {tensor.name} has shape {tensor.shape}; expert_count is {experts}")
    if kind.experts is None:  # gpt-oss: joined by ``_interleave``
        yield _renamed(tensor, f"{at}.mlp.experts.{part}.{suffix}")
        return
    for expert in range(experts):
        where = kind.experts[STACKED.index(part)].format(e=expert)
        yield _renamed(tensor, f"{at}.{where}.{suffix}", tensor.array[expert])


def _interleave(found: dict[str, Tensor], config: Mapping[str, Any]) -> None:
    """gpt-oss: gate and up rows in turn, as one ``gate_up_proj``; plain weights transposed to [experts, in, out]."""
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp.experts"
        for suffix, end in (("weight", ""), ("bias", "_bias")):
            names = [f"{at}.{part}.{suffix}" for part in STACKED]
            missing = [name for name in names if name not in found]
            if missing:
                raise CorruptModel(f"tensor {missing[0]} is missing")
            gate, down, up = (found.pop(name) for name in names)
            if (gate.dtype, gate.format, gate.shape) != (up.dtype, up.format, up.shape):
                raise CorruptModel(f"gate and up projection of layer {layer} differ in type or shape")
            both = np.stack([gate.array, up.array], axis=2).reshape(gate.shape[0], -1, *gate.shape[2:])
            for tensor, array, name in ((gate, both, "gate_up_proj"), (down, down.array, "down_proj")):
                turned = suffix == "weight" and not tensor.format
                full = f"{at}.{name}{end}"
                found[full] = Tensor(full, tensor.dtype, array.swapaxes(1, 2) if turned else array, tensor.format)

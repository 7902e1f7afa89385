"""A model, folder or GGUF, written as one GGUF file that llama.cpp reads too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.model import checkpoint
from ownlm.model.gguf.config import TOKEN_IDS
from ownlm.model.gguf.file import GgufFile
from ownlm.model.gguf.metadata import architecture_of, metadata
from ownlm.model.gguf.plan import Types, plan
from ownlm.model.gguf.types import FILE_TYPES, KINDS, Value
from ownlm.model.gguf.vocabulary import vocabulary
from ownlm.model.gguf.write import Planned, write
from ownlm.tokenizer import special

_QUANTIZATION_VERSION = 2
_SAMPLING = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


def export(
    source: Path, target: Path, to: str | None = None, overrides: Mapping[str, str] | None = None, name: str = ""
) -> dict[str, str]:
    """Write ``source`` to the file ``target`` and return the type of each tensor, by GGUF's name.

    ``to`` is the type of all matrices (f32, f16, bf16, or a block format), None keeps each one's own; ``overrides``
    maps patterns of Hugging Face names (``lm_head.*``) to types. Vectors, routers and positions are always float32; a
    matrix whose rows are no whole blocks is written in q8_0 or, failing that, in f16.

    Raises UnsupportedModel for what GGUF cannot state, CorruptModel for tensors that contradict the config.
    """
    types = Types(to, overrides)
    loaded = checkpoint.load(source)
    config = loaded.config()
    kind = architecture_of(config, source)
    keys, factors = metadata(config, source)
    planned = plan(loaded.tensors, kind, config, types, source)
    for factor, values in factors.items():
        planned[factor] = Planned("F32", values.shape, values.copy)
    matrices = [tensor for tensor in planned.values() if len(tensor.shape) > 1]
    weights: Counter[str] = Counter()
    for tensor in matrices:
        weights[tensor.type] += int(np.prod(tensor.shape, dtype=object))
    keys["general.name"] = Value("str", name or source.stem if source.is_file() else name or source.name)
    keys["general.quantization_version"] = Value("u32", _QUANTIZATION_VERSION)
    keys["general.file_type"] = Value("u32", FILE_TYPES[weights.most_common(1)[0][0]])
    keys |= _tokenizer(loaded, config) | _sampling(loaded)
    write(target, keys, planned)
    return {name: tensor.type.lower() for name, tensor in planned.items()}


def _tokenizer(loaded: checkpoint.Checkpoint, config: Mapping[str, Any]) -> dict[str, Value]:
    if loaded.tokenizer is None:
        ids = _ids(config)
        eos = ids.get("tokenizer.ggml.eos_token_id")
        return ids | vocabulary(loaded.folder, config["vocab_size"], eos)
    return {key: _typed(key, value) for key, value in loaded.tokenizer.items()}


def _sampling(loaded: checkpoint.Checkpoint) -> dict[str, Value]:
    """What generation_config.json, or the GGUF that is the source, wants of sampling."""
    first = loaded.files[0]
    stated = (
        first.metadata if isinstance(first, GgufFile) else special.read_json(loaded.folder / "generation_config.json")
    )
    found = {}
    for name, key in _SAMPLING.items():
        value = stated.get(key if isinstance(first, GgufFile) else name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = Value("i32", int(value)) if name == "top_k" else Value("f32", float(value))
    if stated.get("do_sample") is False:
        found["general.sampling.temp"] = Value("f32", 0.0)
    return found


def _ids(config: Mapping[str, Any]) -> dict[str, Value]:
    """What config.json says of special tokens; of several that end a text, the first."""
    found = {}
    for setting, key in TOKEN_IDS.items():
        ids = config.get(setting)
        first = ids[0] if isinstance(ids, list) and ids else ids
        if type(first) is int and 0 <= first < config["vocab_size"]:
            found[key] = Value("u32", first)
    return found


def _typed(key: str, value: Any) -> Value:
    """A tokenizer key of another GGUF, with the kind that such keys have."""
    array = isinstance(value, list)
    first = (value or [""])[0] if array else value
    kind = "str" if isinstance(first, str) else "bool" if isinstance(first, bool) else ""
    kind = kind or ("f32" if isinstance(first, float) else "i32" if array else "u32")
    if key == "tokenizer.ggml.precompiled_charsmap":
        kind = "u8"
    return Value(next(known for known in KINDS if known == kind), value, array)

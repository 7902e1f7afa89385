"""Weights rounded to the nearest value that a block format has: a folder or a GGUF file, from either.

Matrices of the layers take the format asked for; embeddings and head, whose errors reach every token, take at least 8
bits; norms, biases, routers and positions stay float32, as does a matrix whose rows are no whole blocks.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.files import atomic_json
from ownlm.formats import FORMATS
from ownlm.model import beside, checkpoint
from ownlm.model.block_policy import OUTER, format_of, is_turned
from ownlm.model.decoder_families import decoder_config
from ownlm.model.gguf.export import export
from ownlm.model.safetensors import Tensor

TARGETS = ("q8_0", "q4_0")


def quantize(source: Path, target: Path, to: str) -> None:
    """Write ``source``, a model folder or GGUF file, to ``target``: a new folder, or a file whose name ends in .gguf.

    Raises InvalidSetting for a format, a target or a source that cannot be (quantized already, of a GGUF file to a
    folder), UnsupportedModel or CorruptModel for a model that is not read here.
    """
    if to not in TARGETS:
        raise InvalidSetting("--to", to, f"give one of {', '.join(TARGETS)}")
    if target.exists():
        raise InvalidSetting("--out", str(target), "it is there already: remove it, or give another name")
    loaded = checkpoint.load(source)
    decoder_config(loaded.config(), source)
    blocks = sorted({tensor.format for tensor in loaded.tensors.values() if tensor.format})
    if blocks:
        raise InvalidSetting("model", str(source), f"it is quantized already ({', '.join(blocks)}): give its original")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".gguf":
        export(source, target, to, dict.fromkeys(OUTER, "q8_0"))
        return
    if loaded.tokenizer is not None:
        raise InvalidSetting("--out", str(target), f"of a GGUF file only a GGUF file is made: give {target}.gguf")
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        scratch.chmod(
            target.parent.stat().st_mode & 0o755
        )  # as readable as its place; a temporary folder is its owner's alone
        _write(loaded, scratch, to)
        scratch.replace(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _write(loaded: checkpoint.Checkpoint, folder: Path, to: str) -> None:
    with tempfile.TemporaryFile(dir=folder) as spill:
        made = {name: spilled(quantized(tensor, to), spill) for name, tensor in loaded.tensors.items()}
        checkpoint.write(folder, made)
    config = loaded.config()
    config["quantization_config"] = {
        "quant_method": "ownlm",
        "format": to,
        "block_size": FORMATS[to].block,
        "tensors": {name: tensor.format for name, tensor in sorted(made.items()) if tensor.format not in ("", to)},
    }
    atomic_json(folder / "config.json", config, sort_keys=True)
    beside.copy(loaded.folder, folder)


def spilled(tensor: Tensor, spill: IO[bytes]) -> Tensor:
    """The tensor as a view of a file, so that one at a time is in memory."""
    start = spill.seek(0, 2)
    spill.write(np.ascontiguousarray(tensor.array).data)
    spill.flush()
    if not tensor.array.size:
        return tensor
    array = np.memmap(spill, tensor.array.dtype, "r", start, tensor.array.shape)
    return Tensor(tensor.name, tensor.dtype, array, tensor.format)


def quantized(tensor: Tensor, to: str) -> Tensor:
    """A tensor of a checkpoint as it is stored afterwards; rows of blocks even where the checkpoint has columns."""
    name = tensor.name
    weights = tensor.float32()
    if len(tensor.shape) < 2:
        return Tensor(name, "F32", weights)
    if is_turned(name, weights.ndim):
        weights = np.ascontiguousarray(weights.swapaxes(-1, -2))
    form = format_of(name, weights.shape[-1], to)
    if not form:
        return Tensor(name, "F32", tensor.float32())
    try:
        return Tensor(name, "U8", FORMATS[form].quantize(weights), form)
    except ValueError as error:
        raise CorruptModel(f"tensor {name} cannot be quantized: {error}") from None

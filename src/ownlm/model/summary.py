"""What a model is, in the words of its own files: for ``ownlm show`` and for the server's list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ownlm.errors import UnsupportedModel
from ownlm.model import checkpoint
from ownlm.model.beside import beside
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.gguf.shards import read_shards
from ownlm.model.memory import KVShape, parameters, weight_bytes
from ownlm.native.plan import CacheFormat

_README = 1 << 16  # bytes of it that are looked at


@dataclass(frozen=True, slots=True)
class Summary:
    """``bytes``: by format. ``cache_bytes_per_token``: of the KV cache at bfloat16, None where no decoder that is
    supported is in it; ``cache_formats``: in each format that it may have.

    ``context``: longest sequence. ``receipt``: what quantizing lost, ``parity``: what the gate found at the last step,
    if the model carries them; ``parity_holds``: whether that is of the weights which are there.
    """

    path: Path
    architecture: str
    parameters: int
    bytes: dict[str, int]
    context: int | None
    cache_bytes_per_token: int | None
    licence: str | None
    quantization: str | None
    receipt: dict[str, Any] | None
    cache_formats: dict[str, int]
    parity: dict[str, Any] | None = None
    parity_holds: bool | None = None


def summarize(path: Path) -> Summary:
    """Read config and headers, not weights. Raises what ``checkpoint.load`` raises."""
    loaded = checkpoint.load(path, verify=False)
    config = loaded.config()
    decoder = _decoder(config, path)
    sizes = weight_bytes(loaded.tensors)
    blocks = [name for name, size in sizes.items() if any(t.format == name for t in loaded.tensors.values())]
    stated = config.get("quantization_config")
    quantization = ", ".join(blocks) or (stated.get("quant_method") if isinstance(stated, dict) else None)
    parity = _parity(path)
    return Summary(
        path=path,
        architecture=str(config.get("model_type")),
        parameters=parameters(loaded.tensors),
        bytes=sizes,
        context=config.get("max_position_embeddings") if decoder is None else decoder.max_position_embeddings,
        cache_bytes_per_token=None if decoder is None else KVShape.of(decoder).bytes(1, block_size=1),
        licence=_licence(path, loaded.folder),
        quantization=quantization,
        receipt=_read(beside(path, "receipt")),
        cache_formats={} if decoder is None else _cache_bytes(decoder),
        parity=parity,
        parity_holds=None if parity is None else parity.get("fingerprint") == loaded.fingerprint(),
    )


def _cache_bytes(config: DecoderConfig) -> dict[str, int]:
    shape = KVShape.of(config)
    return {name: shape.bytes(1, cache_format=name, block_size=1) for name in get_args(CacheFormat)}


def _decoder(config: dict[str, Any], path: Path) -> DecoderConfig | None:
    """None for an encoder, and for a family that is not supported: it can be looked at all the same."""
    try:
        return decoder_config(config, path)
    except UnsupportedModel:
        return None


def _licence(path: Path, folder: Path) -> str | None:
    """``general.license`` of a GGUF file, else ``license:`` in the head of the model card."""
    if checkpoint.is_gguf(path):
        stated = read_shards(path, verify=False)[0].metadata.get("general.license")
        if isinstance(stated, str):
            return stated
    card = folder / "README.md"
    if not card.is_file():
        return None
    with card.open("rb") as file:
        lines = file.read(_README).decode("utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:]:
        if line.strip() == "---":
            return None
        if line.startswith("license:"):
            return line.removeprefix("license:").strip().strip("\"'") or None
    return None


def _parity(path: Path) -> dict[str, Any] | None:
    """The last step that the gate's report tells of."""
    steps = (_read(beside(path, "parity")) or {}).get("steps")
    last = steps[-1] if isinstance(steps, list) and steps else None
    return last if isinstance(last, dict) else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

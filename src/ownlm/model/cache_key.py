"""The name of what a cache's bytes mean, so that keys and values can outlive a process and meet no other model."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

import ownlm
from ownlm.model.decoder_config import DecoderConfig
from ownlm.native.plan import CACHE_LAYOUT


def cache_key(weights: str, config: DecoderConfig, arithmetic: str, cache_format: str, block_size: int) -> str:
    """Hex SHA-256 of all that the bytes of a block depend on beside its tokens; "" where the weights have no name.

    ``weights`` names their bytes, adapters included; ``arithmetic`` is what computes (a side of ``ops`` and its
    instruction set): another gives other last bits. ``config`` stands for all settings, rope's included.
    """
    if not weights:
        return ""
    digest = hashlib.sha256()
    for part in (ownlm.__version__, CACHE_LAYOUT, weights, arithmetic, cache_format, block_size, config):
        _add(digest, part)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Each value with its type, each field with its name: no two settings come to the same text."""
    if dataclasses.is_dataclass(value):
        digest.update(f"{type(value).__name__}(".encode())
        for field in dataclasses.fields(value):
            digest.update(f"{field.name}=".encode())
            _add(digest, getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, tuple):
        digest.update(f"{len(value)}[".encode())
        for each in value:
            _add(digest, each)
    else:
        digest.update(f"{type(value).__name__}:{value!r};".encode())

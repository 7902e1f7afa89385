"""Chance that depends on a text and the seed alone: the order of documents, which are set aside, which are repeated.

So the same texts give the same corpus however they are spread over files, workers and machines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.train.data.minhash import U64, mix

_COPY, _WEIGHT, _VALID = 0x632BE59BD9B4E019, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F
_MASK = (1 << 64) - 1


def copy_key(digests: npt.NDArray[Any], copy: int, seed: int) -> U64:
    """By what documents are ordered; each copy of one has a place of its own. ``digests``: uint64 [documents, 2]."""
    return _drawn(digests, _COPY + copy, seed)


def weight_draw(digests: npt.NDArray[Any], seed: int) -> npt.NDArray[np.float64]:
    """A number from 0 to below 1: below the fraction of the weight, there is one more copy."""
    return _unit(_drawn(digests, _WEIGHT, seed))


def valid_draw(digests: npt.NDArray[Any], seed: int) -> npt.NDArray[np.float64]:
    """A number from 0 to below 1: below the share of validation, the document is set aside."""
    return _unit(_drawn(digests, _VALID, seed))


def _drawn(digests: npt.NDArray[Any], stream: int, seed: int) -> U64:
    start = mix(np.array([(seed * 0x9E3779B97F4A7C15 + stream) & _MASK], np.uint64))
    return mix(digests[:, 1] ^ mix(digests[:, 0] ^ start))


def _unit(values: U64) -> npt.NDArray[np.float64]:
    return (values >> np.uint64(11)).astype(np.float64) * 2.0**-53

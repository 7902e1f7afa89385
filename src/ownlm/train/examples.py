"""Examples on disk: ids and what is to be learnt of them, memory-mapped, so that they may be larger than memory.

A folder: ``ids.bin`` (uint32), ``learnt.bin`` (uint8, 1 where the token is to be learnt), ``ends.bin`` (int64, where
each example ends in both) and ``examples.json``, written last: a folder without it is not read.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import DiskFull, InvalidData
from ownlm.files import atomic_json, atomic_write
from ownlm.train.batch import IGNORED, Row

FACTS = "examples.json"
_FILES = {"ids": "<u4", "learnt": "u1", "ends": "<i8"}


@dataclass(frozen=True, slots=True)
class Example:
    """One text: its ids, and 1 for each that is to be learnt."""

    ids: Sequence[int]
    learnt: Sequence[int]


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples in order. ``facts`` is what their maker wrote of them (counts, fingerprint)."""

    ids: NDArray[np.uint32]
    learnt: NDArray[np.uint8]
    ends: NDArray[np.int64]
    facts: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each."""
        return np.diff(self.ends, prepend=0)

    def __getitem__(self, index: int) -> Row:
        """As a row of one sequence: a token's target is the next one, where that is to be learnt."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self.ends[index - 1]) if index else 0
        ids = self.ids[start : self.ends[index]].astype(np.int64)
        targets = np.full(len(ids), IGNORED, np.int64)
        learnt = self.learnt[start + 1 : self.ends[index]] == 1
        targets[:-1][learnt] = ids[1:][learnt]
        return Row(ids, targets)


def write_examples(folder: Path, examples: Iterable[Example], facts: Mapping[str, Any]) -> Examples:
    """Write them, and open what was written. ``facts`` may still change while ``examples`` are made.

    Raises DiskFull.
    """
    try:
        _write(folder, examples, facts)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(folder) from None
        raise
    return open_examples(folder)


def _write(folder: Path, examples: Iterable[Example], facts: Mapping[str, Any]) -> None:
    (folder / FACTS).unlink(missing_ok=True)
    end = 0
    with contextlib.ExitStack() as stack:
        ids, learnt, ends = (stack.enter_context(atomic_write(folder / f"{name}.bin")) for name in _FILES)
        for example in examples:
            end += len(example.ids)
            ids.write(np.asarray(example.ids, _FILES["ids"]).tobytes())
            learnt.write(np.asarray(example.learnt, _FILES["learnt"]).tobytes())
            ends.write(np.asarray(end, _FILES["ends"]).tobytes())
    atomic_json(folder / FACTS, facts)


def open_examples(folder: Path) -> Examples:
    """Map a folder of ``write_examples``. Raises InvalidData for one that is damaged."""
    again = "remove the folder, and it is made again"
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        ids, learnt, ends = (_mapped(folder / f"{name}.bin", dtype) for name, dtype in _FILES.items())
    except (OSError, ValueError) as error:
        raise InvalidData(folder, f"cannot be read ({error})", again) from None
    last = int(ends[-1]) if len(ends) else 0
    if len(ids) != last or len(learnt) != last:
        raise InvalidData(folder, f"has {len(ids)} ids and {len(learnt)} marks where {last} are listed", again)
    return Examples(ids, learnt, ends, facts)


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    if not path.stat().st_size:  # which cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r")

"""Where preparing weights finds them packed already, and leaves those that it packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.errors import CorruptModel
from ownlm.model.packed_file import Entry

Kind = tuple[str, int, int, bool]
"""Format, rows, columns and whether they are gated, of packed weights."""


class Packs:
    """Packed weights by name, of one call of ``NativeOps.prepare``.

    What ``found`` holds is used as it lies there; what it does not hold is packed, and kept in ``made``.
    """

    def __init__(self, found: Mapping[str, Entry] | None = None) -> None:
        self._found = found or {}
        self._number = 0
        self.made: dict[str, Entry] = {}

    def name(self) -> str:
        """The next leaf's: leaves are prepared in one order."""
        self._number += 1
        return str(self._number)

    def linear(self, name: str, kind: Kind, pack: Callable[[], native.Linear]) -> native.Linear:
        """The weights of that name. CorruptModel if other ones are there."""
        entry = self._found.get(name)
        if entry is None:
            made = pack()
            self.made[name] = made.parts
            return made
        try:
            found = native.from_parts(entry) if isinstance(entry, list) else None
        except (ValueError, TypeError, RuntimeError) as error:
            raise CorruptModel(f"packed weights {name}: {error}") from None
        if found is None or (found.format, found.rows, found.columns, found.glu) != kind:
            raise CorruptModel(f"packed weights {name} are not {kind}")
        return found

    def array(self, name: str, dtype: str, shape: tuple[int, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of that name. CorruptModel if another one is there."""
        entry = self._found.get(name)
        if entry is None:
            made = self.made[name] = make()
            return made
        if not (isinstance(entry, np.ndarray) and (entry.dtype.name, entry.shape) == (dtype, shape)):
            raise CorruptModel(f"packed array {name} is not {dtype} {shape}")
        return entry

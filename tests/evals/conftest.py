"""Makes the helpers beside and above these tests importable, and small public sets."""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parents[1]
sys.path += [str(_TESTS), str(_TESTS / "tokenizer"), str(_TESTS / "evals")]

Put = Callable[[str, Sequence[Any]], Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write the rows of a set below a data folder, which is returned."""

    def write(name: str, rows: Sequence[Any]) -> Path:
        folder = tmp_path / "data"
        path = folder / f"{name}.jsonl.xz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode()))
        return folder

    return write

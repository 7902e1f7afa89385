"""One small model with words for all tests of the gate."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path += [str(Path(__file__).parents[1] / part) for part in ("publish", "tokenizer", "model")]

from tiny_worded import write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("parity") / "m")

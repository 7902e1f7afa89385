"""Makes ``tests/tiny_bert.py`` and the modules beside it importable; the starter's data, made up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like ``OWNLM_DATA``."""
    import starter_data

    return starter_data.make(tmp_path_factory.mktemp("data"))

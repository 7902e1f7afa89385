from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ownlm import native

sys.path.append(str(Path(__file__).parents[1]))  # tests/plan_support.py


@pytest.fixture(params=native.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set of this machine in turn; the one in use before comes back."""
    before = native.isa()
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads comes back after the test."""
    before = native.threads()
    yield
    native.set_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)

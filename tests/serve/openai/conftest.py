"""See ``openai_fixtures``."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS), str(TESTS / "tokenizer")]

from openai_fixtures import lenient, model_folder, served  # noqa: E402, F401

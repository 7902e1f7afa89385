"""See ``openai_fixtures``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from openai_fixtures import lenient, model_folder, served  # noqa: F401

"""The tree is clean by its own tools, and says nothing of the machine it was written on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--no-error-summary"]], ids=" ".join
)
def test_tools_find_nothing(command: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ci_runs_the_command_of_the_readme() -> None:
    commands = re.findall(r"^```(?:bash|sh)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    second = commands[1].strip().splitlines()[-1]
    assert "pytest" in second
    assert second.replace("pip install", "pip install -q") in script

"""Imports point one way: from the command line down to the errors, never up and never sideways."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ownlm"

# Low to high; a module may import from lower layers and its own. Names on one line never import each other.
LAYERS = [
    ["errors"],
    ["files", "home", "worker"],
    ["hub"],
    ["formats"],
    ["tokenizer"],
    ["native"],
    ["model"],
    ["quant", "train", "engine"],
    ["publish"],
    ["fit"],
    ["prompts"],
    ["rag"],
    ["tasks"],
    ["evals"],
    ["serve"],
    ["deploy"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imported_modules(path: Path) -> set[str]:
    """Every ``ownlm.X`` that a file imports, inside functions and type-checking blocks too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import on line {node.lineno}; name the module in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("ownlm.")}


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert part in RANK, f"{part} has no place in the order of layers"
    for name in imported_modules(path) - {part, "__version__"}:
        assert RANK[name] < RANK[part], f"{path.relative_to(SOURCE)} imports ownlm.{name}, which is not below it"


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_is_light() -> None:
    assert not loaded_after("import ownlm") & {"numpy", "torch", "tokenizers", "fastapi", "typer", "sqlite3"}


def test_help_is_light() -> None:
    code = "import contextlib, io\nfrom ownlm.cli import main\n"
    code += "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    assert not loaded_after(code) & {"numpy", "torch", "tokenizers", "fastapi", "sqlite3"}


def test_asking_needs_no_torch() -> None:
    modules = loaded_after("import ownlm\nownlm.Library, ownlm.Embedder\nfrom ownlm.rag import answer, sync")
    assert "torch" not in modules

"""The files beside a model's weights: which go along when the weights are written anew, and where papers are."""

from __future__ import annotations

import shutil
from pathlib import Path

from ownlm.model import checkpoint

_COPIED = (".json", ".jinja", ".txt", ".model", ".md")
_LICENCES = ("LICENSE", "NOTICE")
_TEMPLATES = "additional_chat_templates"
# What tells of these very weights, or is written anew.
_NOT_COPIED = (
    "config.json", "receipt.json", "parity.json", "evals.json", "recipe.json", checkpoint.INDEX, "SHA256SUMS",
    "manifest.json",  # of token shards, which have their tokenizer beside them
)  # fmt: skip


def beside(model: Path, name: str) -> Path:
    """Where a model's paper of that name is: NAME.json in its folder, MODEL.NAME.json by a file MODEL.gguf."""
    return model / f"{name}.json" if model.is_dir() else model.with_suffix(f".{name}.json")


def copy(source: Path, target: Path) -> None:
    """Tokenizer, templates, settings, card and licence of a model folder to another; no code, no weights, no paper that
    tells of the weights."""
    for path in sorted(source.iterdir()):
        wanted = path.suffix in _COPIED or path.name in _LICENCES
        if wanted and path.name not in _NOT_COPIED and path.is_file():
            shutil.copyfile(path, target / path.name)
    if (source / _TEMPLATES).is_dir():
        (target / _TEMPLATES).mkdir(exist_ok=True)
        for path in sorted((source / _TEMPLATES).glob("*.jinja")):
            shutil.copyfile(path, target / _TEMPLATES / path.name)

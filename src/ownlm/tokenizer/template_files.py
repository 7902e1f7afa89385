"""Where chat templates are kept: files of a model folder, and keys of a GGUF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, NotFound
from ownlm.tokenizer.special import read_json

MAX_BYTES = 4 << 20


def of_folder(folder: Path) -> dict[str, str]:
    """Templates by name. Files go before ``tokenizer_config.json``, as in transformers.

    Raises NotFound or CorruptModel.
    """
    found = _of_settings(read_json(folder / "tokenizer_config.json").get("chat_template"), folder)
    legacy = read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(legacy, str):
        found["default"] = legacy
    files = {"default": folder / "chat_template.jinja"}
    extra = folder / "additional_chat_templates"
    if extra.is_dir():
        files |= {path.stem: path for path in sorted(extra.glob("*.jinja"))}
    for name, path in files.items():
        if path.is_file():
            found[name] = _text(path)
    if not found:
        raise NotFound(f"{folder} has no chat template: give chat_template.jinja, or use the model without chat")
    return found


def of_gguf(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name. Raises NotFound."""
    key = "tokenizer.chat_template"
    found = {
        name.removeprefix(key).removeprefix(".") or "default": text
        for name, text in metadata.items()
        if (name == key or name.startswith(f"{key}.")) and isinstance(text, str)
    }
    if not found:
        raise NotFound("the GGUF has no chat template (tokenizer.chat_template)")
    return found


def _of_settings(value: Any, folder: Path) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": value}
    if isinstance(value, dict):
        value = [{"name": name, "template": text} for name, text in value.items()]
    match value:
        case [*entries] if all(
            isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
            for entry in entries
        ):
            return {entry["name"]: entry["template"] for entry in entries}
    raise CorruptModel(f"{folder / 'tokenizer_config.json'} has a chat_template that is no text: get the file again")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptModel(f"{path} has more than {MAX_BYTES >> 20} MiB: it is no chat template")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CorruptModel(f"{path} is not UTF-8: get the file again") from None

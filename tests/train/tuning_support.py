"""A tiny model folder with the chat template that OwnLM's models have, and files of conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ownlm.tokenizer import ChatTemplate
from ownlm.tokenizer.bpe import train_bpe

TEXTS = ["the gate opens at nine and closes at five", "a lost key costs twenty pounds", "who has the key?"] * 4
WORDS = 300
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "who has the key?"},
    {"role": "assistant", "content": "the gate"},
    {"role": "user", "content": "when?"},
    {"role": "assistant", "content": "at nine"},
]
TOOL = {"type": "function", "function": {"name": "open", "parameters": {"type": "object", "properties": {}}}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "open the gate"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "open", "arguments": '{"gate": 1}'}}],
    },
    {"role": "tool", "content": "done", "tool_call_id": "1"},
    {"role": "assistant", "content": "it is open"},
]


def write_tokenizer(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train_bpe(TEXTS, WORDS, folder)
    return folder


def template(folder: Path) -> ChatTemplate:
    return ChatTemplate.load(write_tokenizer(folder))


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path

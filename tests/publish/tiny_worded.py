"""A model folder in the shape that ships: Qwen3, tied, with ChatML, tools and two ends of a text."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_families
import tokenizer_kinds

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(folder: Path, family: str = "qwen3", **changes: object) -> Path:
    """A small random model with words."""
    folder.mkdir(exist_ok=True)
    tokenizer_kinds.byte_level(folder)
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ends = {token["content"]: token["id"] for token in raw["added_tokens"]}
    size = max(*raw["model"]["vocab"].values(), *ends.values()) + 4
    both = [ends["<|im_end|>"], ends["<|endoftext|>"]]
    tiny_families.save(
        folder, family, vocab_size=size, eos_token_id=both[1], bos_token_id=None, pad_token_id=None, **changes
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": both, "temperature": 0.7, "top_k": 20}))
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder

"""Special tokens: what they are called, which end a text, and which the model wants around one.

Sources: ``tokenizer_config.json``, ``special_tokens_map.json``, ``generation_config.json``, ``config.json`` of a
model folder; ``tokenizer.ggml.*`` of a GGUF.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MAX_BYTES = 64 << 20

# Ends of a turn that files forget to list: a model that writes one has finished.
ENDS_OF_TURN = (
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|return|>", "<|call|>",
    "<|endoftext|>", "<|end_of_text|>", "<EOT>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Special:
    """``names``: the text of each named token, as templates see it. ``add_bos``/``add_eos``: whether a text gets
    them; None leaves it to the tokenizer's file. ``eos_ids``: ids that end a text, beside ``eos_token``.
    ``added``: tokens that ``tokenizer_config.json`` adds, by id. ``fim``: fill-in-the-middle ids a GGUF names."""

    names: Mapping[str, str] = field(default_factory=dict)
    add_bos: bool | None = None
    add_eos: bool | None = None
    eos_ids: frozenset[int] = frozenset()
    added: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    fim: Mapping[str, int] = field(default_factory=dict)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder; empty if it is not there. Raises CorruptModel."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptModel(f"{path} has more than {MAX_BYTES >> 20} MiB: get the file again")
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise CorruptModel(f"{path} is not valid JSON ({error}): get the file again") from None
    if not isinstance(found, dict):
        raise CorruptModel(f"{path} is not a JSON object: get the file again")
    return found


def of_folder(folder: Path) -> Special:
    """What a model folder says. Raises CorruptModel."""
    settings = read_json(folder / "tokenizer_config.json")
    names = _names(read_json(folder / "special_tokens_map.json")) | _names(settings)
    ends: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        ends |= _ids(read_json(folder / file).get("eos_token_id"))
    return Special(names, _flag(settings, "add_bos_token"), _flag(settings, "add_eos_token"), frozenset(ends),
                   _added(settings))  # fmt: skip


def of_gguf(
    metadata: Mapping[str, Any], token: Callable[[int], str | None], add_bos: bool | None, add_eos: bool | None
) -> Special:
    """What the ``tokenizer.ggml.*`` keys say; the two policies are the model's defaults, None: none asked."""
    ids: dict[str, int] = {}
    for name in ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "cls", "mask"):
        for found in _ids(metadata.get(f"tokenizer.ggml.{name}_token_id")):
            ids[name] = found
    keys = {"bos": "bos", "eos": "eos", "unknown": "unk", "seperator": "sep", "padding": "pad", "cls": "cls",
            "mask": "mask"}  # fmt: skip
    names = {f"{keys[name]}_token": text for name, id_ in ids.items() if name in keys and (text := token(id_))}
    fim = {}
    for key, old, role in (("fim_pre", "prefix", "prefix"), ("fim_suf", "suffix", "suffix"),
                           ("fim_mid", "middle", "middle"), ("fim_pad", "", "pad"), ("fim_rep", "", "repository"),
                           ("fim_sep", "", "file")):  # fmt: skip
        for name in (old, key):
            for found in _ids(metadata.get(f"tokenizer.ggml.{name}_token_id")):
                fim[role] = found
    return Special(
        names,
        None if add_bos is None else bool(metadata.get("tokenizer.ggml.add_bos_token", add_bos)),
        None if add_eos is None else bool(metadata.get("tokenizer.ggml.add_eos_token", add_eos)),
        frozenset(ids[name] for name in ("eos", "eot", "eom") if name in ids),
        fim=fim,
    )


def _names(settings: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name in NAMES:
        value = settings.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            found[name] = value
    return found


def _flag(settings: Mapping[str, Any], name: str) -> bool | None:
    value = settings.get(name)
    return value if isinstance(value, bool) else None


def _ids(value: Any) -> set[int]:
    values = value if isinstance(value, list) else [value]
    return {int(found) for found in values if isinstance(found, int) and not isinstance(found, bool) and found >= 0}


def _added(settings: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    table = settings.get("added_tokens_decoder")
    if not isinstance(table, dict):
        return {}
    return {
        int(id_): token
        for id_, token in table.items()
        if str(id_).isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str)
    }

"""How token states become one vector: read from the files that sentence-transformers puts in a model folder.

``modules.json`` lists the steps, ``1_Pooling/config.json`` the pooling, ``sentence_bert_config.json`` the length.
A folder without them is read as that library reads it: mean pooling over as many tokens as there are positions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.config import ModelConfig, read_json

_MODE = "pooling_mode_"


@dataclass(frozen=True, slots=True)
class PoolingConfig:
    """``max_length`` counts special tokens. Vectors are of length 1 whether or not the folder lists ``Normalize``,
    because every comparison here is a cosine."""

    mode: str
    max_length: int

    @staticmethod
    def load(folder: Path, config: ModelConfig) -> PoolingConfig:
        """Read the folder; CorruptModel or UnsupportedModel with the setting at fault."""
        longest = config.max_position_embeddings
        if not (folder / "modules.json").is_file():
            return PoolingConfig("mean", longest)
        path = folder / "modules.json"
        try:
            modules = {
                str(module["type"]).rsplit(".", 1)[-1]: str(module["path"]) for module in json.loads(path.read_bytes())
            }
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptModel(f"{path} is damaged ({error}): get the file again") from None
        unknown = sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})
        if unknown or not {"Transformer", "Pooling"} <= set(modules):
            raise UnsupportedModel(f"{path} lists {sorted(modules)}; supported: Transformer, Pooling, Normalize")
        _check_mode(folder, modules["Pooling"])
        prompts = folder / "config_sentence_transformers.json"
        if prompts.is_file() and read_json(prompts).get("default_prompt_name") is not None:
            raise UnsupportedModel(f"{prompts}: default_prompt_name is set; supported: models that read the text alone")
        return PoolingConfig("mean", _max_length(folder, longest))


def _max_length(folder: Path, longest: int) -> int:
    """``max_seq_length``, where newer folders write the tokenizer's ``model_max_length``; else all positions."""
    for file, name in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        path = folder / file
        stated = read_json(path).get(name) if path.is_file() else None
        if stated is None:
            continue
        if type(stated) is not int or stated <= 2 or (name == "max_seq_length" and stated > longest):
            raise CorruptModel(f"{path}: {name} is {stated!r}, not a number from 3 to {longest} (positions)")
        return min(stated, longest)  # a tokenizer without a limit states 10^30
    return longest


def _check_mode(folder: Path, name: str) -> None:
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise CorruptModel(f"{folder / 'modules.json'}: {name!r} is no folder of the model")
    raw = read_json(folder / name / "config.json")
    modes = sorted(key.removeprefix(_MODE) for key, value in raw.items() if key.startswith(_MODE) and value is True)
    modes = modes or ([raw["pooling_mode"]] if "pooling_mode" in raw else [])
    if modes not in (["mean_tokens"], ["mean"]):
        raise UnsupportedModel(f"{folder / name / 'config.json'}: pooling is {modes}; supported: mean_tokens")

"""What a model's ``generation_config.json``, or GGUF file, wants where a request says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidSetting
from ownlm.tokenizer.special import read_json

# Its names, and ours.
_HONOURED = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
}
# What would change an answer and is not done here, with the value that means nothing.
_PLAIN: dict[str, Any] = {
    "num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0, "penalty_alpha": None, "typical_p": 1.0,
    "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": None, "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0, "bad_words_ids": None, "force_words_ids": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None,
    "suppress_tokens": None, "begin_suppress_tokens": None, "sequence_bias": None, "guidance_scale": None,
    "exponential_decay_length_penalty": None, "dola_layers": None,
}  # fmt: skip


# A GGUF's names, and those that change an answer in a way that is not done here, with the values that mean nothing.
_GGUF = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
_GGUF_PLAIN: dict[str, Any] = {"xtc_probability": 0.0, "mirostat": 0}

Found = tuple[dict[str, Any], list[str]]
"""Settings by ``SamplingParams``'s names, and remarks on what is not honoured."""


def folder_defaults(folder: Path) -> Found:
    """Of a model folder; ``do_sample: false`` asks for the likeliest token. CorruptModel if it is no JSON."""
    stated = read_json(folder / "generation_config.json")
    found, remarks = _taken("generation_config.json", stated, _HONOURED, _PLAIN)
    if stated.get("do_sample") is False:
        found["temperature"] = 0.0
    if found.get("min_tokens", 0) > found.get("max_tokens", 2**31):
        remarks.append(f"generation_config.json wants min_new_tokens {found.pop('min_tokens')}, more than the most")
    return found, remarks


def gguf_defaults(metadata: Mapping[str, Any]) -> Found:
    """Of a GGUF file: its keys ``general.sampling.*``, numbers as near as float32 holds them."""
    start = "general.sampling."
    stated = {key.removeprefix(start): value for key, value in metadata.items() if key.startswith(start)}
    stated = {name: round(value, 6) if isinstance(value, float) else value for name, value in stated.items()}
    return _taken("the GGUF file", stated, _GGUF, _GGUF_PLAIN)


def _taken(source: str, stated: Mapping[str, Any], honoured: Mapping[str, str], plain: Mapping[str, Any]) -> Found:
    found: dict[str, Any] = {}
    remarks = []
    for name, ours in honoured.items():
        value = stated.get(name)
        if value is None:
            continue
        try:
            SamplingParams(**{ours: value})
            found[ours] = value
        except InvalidSetting as error:
            remarks.append(f"{source} is not followed in this: {error}")
    for name, nothing in plain.items():
        if stated.get(name) not in (None, nothing, []):
            remarks.append(f"{source} wants {name} {stated[name]!r}, which is not done here")
    return found, remarks

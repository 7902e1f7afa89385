"""What a model's ``generation_config.json`` wants where a request says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidSetting
from ownlm.model.checkpoint import is_gguf
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


def generation_defaults(path: Path) -> tuple[dict[str, Any], list[str]]:
    """(settings by ``SamplingParams``'s names, remarks on what is not honoured) of a model folder.

    A file that says ``do_sample: false`` wants the likeliest token. Raises CorruptModel if it is not JSON.
    """
    if is_gguf(path):
        return {}, []
    stated = read_json(path / "generation_config.json")
    found: dict[str, Any] = {}
    remarks = []
    for name, ours in _HONOURED.items():
        value = stated.get(name)
        if value is None:
            continue
        try:
            SamplingParams(**{ours: value})
            found[ours] = value
        except InvalidSetting as error:
            remarks.append(f"generation_config.json is not followed in this: {error}")
    if stated.get("do_sample") is False:
        found["temperature"] = 0.0
    if found.get("min_tokens", 0) > found.get("max_tokens", 2**31):
        remarks.append(f"generation_config.json wants min_new_tokens {found.pop('min_tokens')}, more than the most")
    for name, plain in _PLAIN.items():
        if stated.get(name) not in (None, plain, []):
            remarks.append(f"generation_config.json wants {name} {stated[name]!r}, which is not done here")
    return found, remarks

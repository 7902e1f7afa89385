"""Training a byte-level BPE on text, and the tokenizer folder that it becomes.

Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, over bytes as in GPT-2; words are cut as Qwen2 cuts them, each
digit alone. No normalizer: any text comes back byte for byte. The trainer is that of ``tokenizers``; it gives the same
vocabulary whatever the order of the texts and the number of threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_write
from ownlm.tokenizer import pretokenizers
from ownlm.tokenizer.chatml import CHATML

SEPARATOR = "<|endoftext|>"
"""Stands after every document of a corpus; ends a text."""
TURN_END = "<|im_end|>"
SPECIAL_TOKENS = (SEPARATOR, "<|im_start|>", TURN_END, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""Tokens that steer the model, ids 0 to 5. A chat that is decoded does not show them."""
TOOL_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""Ids 6 to 9: one token each, and a part of what the model says."""
SMALLEST = len(SPECIAL_TOKENS) + len(TOOL_TOKENS) + 256
"""Special tokens and one token for each byte."""
FAMILY = "stablelm2"
"""Under which name a GGUF knows how words are cut (Qwen2's pattern without its normalizer)."""


def train_bpe(texts: Iterable[str], vocab_size: int, folder: Path) -> str:
    """Learn a vocabulary of ``vocab_size`` tokens from the texts and write a tokenizer folder; return its SHA-256.

    The folder holds ``tokenizer.json``, ``tokenizer_config.json``, ``chat_template.jinja`` and
    ``generation_config.json``, as transformers and OwnLM read them. A pair of tokens becomes one only if the texts
    have it twice. Raises InvalidSetting if the texts do not support so many tokens: never a vocabulary of another size.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    if vocab_size < SMALLEST:
        raise InvalidSetting("vocab_size", vocab_size, f"give at least {SMALLEST}: bytes and special tokens")
    tokenizer: Any = tokenizers.Tokenizer(models.BPE())
    cut = pretokenizers.family(FAMILY).cuts[0]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(cut), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[*SPECIAL_TOKENS, *TOOL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found: int = tokenizer.get_vocab_size()
    if found != vocab_size:
        raise InvalidSetting(
            "vocab_size", vocab_size, f"the text supports no more than {found} tokens: ask for fewer, or give more text"
        )
    definition = json.loads(tokenizer.to_str())
    for token in definition["added_tokens"]:
        token["special"] = token["content"] not in TOOL_TOKENS
    return write_folder(definition, folder)


def write_folder(definition: dict[str, Any], folder: Path) -> str:
    """Write the files beside ``tokenizer.json`` too; return the SHA-256 of ``tokenizer.json``."""
    ids = {token["content"]: token["id"] for token in definition["added_tokens"]}
    data = (json.dumps(definition, ensure_ascii=False, indent=1) + "\n").encode()
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": SEPARATOR,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in definition["added_tokens"]
        },
    }
    generation = {"eos_token_id": [ids[TURN_END], ids[SEPARATOR]], "pad_token_id": ids[SEPARATOR]}
    _write(folder / "tokenizer_config.json", (json.dumps(settings, indent=2) + "\n").encode())
    _write(folder / "chat_template.jinja", CHATML.encode())
    _write(folder / "generation_config.json", (json.dumps(generation, indent=2) + "\n").encode())
    _write(folder / "tokenizer.json", data)
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)

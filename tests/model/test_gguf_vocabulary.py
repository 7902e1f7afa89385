"""A folder's tokenizer through GGUF's keys and back gives the same ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.gguf.vocabulary import vocabulary
from ownlm.tokenizer import Tokenizer, pretokenizers

TEXTS = ["The quick brown fox; it's 12345 o'clock!", "  two  spaces\n\n\ttabs ", "naïve café 東京 🙂", "<|end|>x"]
SPECIAL = ["<|start|>", "<|end|>"]


def byte_level(folder: Path, pattern: str) -> Path:
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(__import__("tokenizers").Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    library.train_from_iterator([text for text in TEXTS for _ in range(9)], trainer)
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": "{{ x }}"}))
    return folder


@pytest.mark.parametrize("name", ["GPT2", "LLAMA3", "QWEN2", "GPT4O"])
def test_byte_level_ids_come_back(tmp_path: Path, name: str) -> None:
    folder = byte_level(tmp_path, getattr(pretokenizers, name))
    size = Tokenizer.load(folder).vocab_size
    keys = vocabulary(folder, size + 3)
    assert len(keys["tokenizer.ggml.tokens"].value) == size + 3
    assert keys["tokenizer.ggml.eos_token_id"].value == 1
    assert keys["tokenizer.chat_template"].value == "{{ x }}"
    back = Tokenizer.from_gguf({key: value.value for key, value in keys.items()})
    assert back.encode_batch(TEXTS) == Tokenizer.load(folder).encode_batch(TEXTS)


def test_bpe_with_byte_fallback_ids_come_back(tmp_path: Path) -> None:
    library = Library(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    library.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *bytes_])
    library.train_from_iterator([text for text in TEXTS[:3] for _ in range(9)], trainer)
    raw = json.loads(library.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    keys = vocabulary(tmp_path, 500)
    back = Tokenizer.from_gguf({key: value.value for key, value in keys.items()})
    assert back.encode_batch(TEXTS[:3]) == Tokenizer.load(tmp_path).encode_batch(TEXTS[:3])


def test_what_has_no_name_in_gguf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="has no name in GGUF"):
        vocabulary(byte_level(tmp_path, r"\d+|\w+|\s|."), 1000)
    with pytest.raises(CorruptModel, match="the model 10"):
        vocabulary(byte_level(tmp_path, pretokenizers.GPT2), 10)


def test_no_tokenizer_is_said(tmp_path: Path) -> None:
    assert vocabulary(tmp_path, 10)["tokenizer.ggml.model"].value == "no_vocab"

"""Small tokenizers of each kind, trained here in a second or two."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizer_texts import CODE, SCRIPTS
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [text for text in (*SCRIPTS.values(), *CODE) for _ in range(4)] + [
    "the fox and the dogs jumping over the lazy river", "return the value of x", "    indented    text",
] * 8  # fmt: skip
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


CHAT = [
    *CONTROL, "<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|end|>", "<start_of_turn>", "<end_of_turn>", "<|start_of_role|>", "<|end_of_role|>",
    "<|end_of_text|>", "<|start|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>", "[TOOL_CALLS]",
]  # fmt: skip


def byte_level(folder: Path, cut: Any = None, size: int = 700, control: list[str] = CONTROL) -> Path:
    """GPT-2's kind, with ChatML's control tokens and one added token that is none."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = cut or pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=control,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    made.add_tokens([tokenizers.AddedToken("<think>", normalized=False, special=False)])
    return save(made, folder, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})


def chat(folder: Path) -> Path:
    """One with the control tokens of every family of chat templates."""
    byte_level(folder, control=CHAT)
    settings = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def wordpiece(folder: Path) -> Path:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return save(made, folder, {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})


def save(made: Any, folder: Path, settings: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def sentencepiece(folder: Path, **options: Any) -> Path:
    """A ``tokenizer.model`` trained by SentencePiece itself (the tests skip without it)."""
    import sentencepiece as library

    model = io.BytesIO()
    settings = {
        "vocab_size": 700,
        "hard_vocab_limit": False,
        "minloglevel": 2,
        "num_threads": 1,
        "bos_id": 1,
        "eos_id": 2,
    }
    library.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, **(settings | options))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return folder


BPE = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
       "remove_extra_whitespaces": False, "split_digits": True, "allow_whitespace_only_pieces": True}  # fmt: skip
UNIGRAM = {"model_type": "unigram", "byte_fallback": False}
TURNS = ["<start_of_turn>", "\n\n", "▁▁", "▁▁▁"]
SENTENCEPIECES = {
    "bpe": BPE,
    "bpe, no prefix": BPE
    | {"add_dummy_prefix": False, "user_defined_symbols": ["<start_of_turn>", "\n\n", "▁▁", "▁▁▁"]},
    "bpe, symbols": BPE | {"user_defined_symbols": ["<mark>", "fox"]},
    "bpe, nfkc": BPE | {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
    "unigram": UNIGRAM,
    "unigram, bytes": UNIGRAM | {"byte_fallback": True},
    "unigram, identity": UNIGRAM | {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "unigram, symbols": UNIGRAM | {"user_defined_symbols": ["<mark>", "fox"]},
}

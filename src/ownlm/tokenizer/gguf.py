"""The vocabulary inside a GGUF file, from its ``tokenizer.ggml.*`` metadata, as a ``tokenizers`` definition.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Models: "gpt2" (byte-level BPE), "llama"
(SentencePiece BPE by scores), "t5" (unigram), "bert" (WordPiece, whose words begin with U+2581 there).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.tokenizer import pipeline
from ownlm.tokenizer.pretokenizers import family, pre_tokenizer
from ownlm.tokenizer.sentencepiece import Kind, Vocabulary
from ownlm.tokenizer.special import Special, of_gguf

Json = dict[str, Any]
SOURCE = "the GGUF's vocabulary"
PREFIX = "tokenizer.ggml."


def read(metadata: Mapping[str, Any]) -> tuple[bytes, Special]:
    """(definition, special tokens). Raises CorruptModel or UnsupportedModel."""
    model = metadata.get(f"{PREFIX}model")
    tokens = _list(metadata, "tokens", str)
    if not tokens:
        raise CorruptModel(f"{SOURCE} is missing (tokenizer.ggml.tokens): convert the model again")
    if len(set(tokens)) != len(tokens):
        raise CorruptModel(f"{SOURCE} has a token twice: convert the model again")
    kinds = [int(kind) for kind in _list(metadata, "token_type", int)] or [int(Kind.NORMAL)] * len(tokens)
    if len(kinds) != len(tokens):
        raise CorruptModel(f"{SOURCE} has {len(tokens)} tokens and {len(kinds)} types: convert the model again")
    add_bos: bool | None = False
    add_eos: bool | None = False
    if model == "gpt2":
        definition, add_bos = _byte_level(metadata, tokens, kinds)
    elif model in ("llama", "t5"):
        definition = _sentencepiece(metadata, str(model), tokens, kinds)
        add_bos, add_eos = model == "llama", model == "t5"
    elif model == "bert":
        definition = _wordpiece(metadata, tokens, kinds)
        add_bos = add_eos = None  # its own [CLS] and [SEP]
    else:
        raise UnsupportedModel(f"GGUF tokenizer model {model!r} is not supported; there are: gpt2, llama, t5, bert")
    special = of_gguf(metadata, lambda id_: tokens[id_] if id_ < len(tokens) else None, add_bos, add_eos)
    return definition, special


def _byte_level(metadata: Mapping[str, Any], tokens: list[str], kinds: list[int]) -> tuple[bytes, bool]:
    found = family(str(metadata.get(f"{PREFIX}pre") or "default"))
    merges = [_pair(rule) for rule in _list(metadata, "merges", str)]
    model: Json = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": found.whole_words,
        "vocab": {token: id_ for id_, token in enumerate(tokens)}, "merges": merges,
    }  # fmt: skip
    parts: Json = {
        "normalizer": {"type": "NFC"} if found.nfc else None,
        "pre_tokenizer": pre_tokenizer(found),
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    }
    return _definition(tokens, kinds, model, parts), found.add_bos


def _pair(rule: str) -> tuple[str, str]:
    first, space, second = rule.partition(" ") if not rule.startswith(" ") else ("", "", "")
    if not space:
        raise CorruptModel(f"{SOURCE} has a merge {rule!r} that is not two tokens: convert the model again")
    return first, second


def _sentencepiece(metadata: Mapping[str, Any], model: str, tokens: list[str], kinds: list[int]) -> bytes:
    scores = [float(score) for score in _list(metadata, "scores", (int, float))] or [0.0] * len(tokens)
    charsmap = bytes(value & 255 for value in _list(metadata, "precompiled_charsmap", int))
    unknown = metadata.get(f"{PREFIX}unknown_token_id", 0 if model == "llama" else 2)
    vocabulary = Vocabulary(
        tokens, scores, kinds, "bpe" if model == "llama" else "unigram",
        byte_fallback=Kind.BYTE in kinds, unk_id=int(unknown), charsmap=charsmap,
        add_dummy_prefix=bool(metadata.get(f"{PREFIX}add_space_prefix", True)),
        remove_extra_whitespaces=bool(metadata.get(f"{PREFIX}remove_extra_whitespaces", False)),
    )  # fmt: skip
    vocabulary.check(SOURCE)
    return pipeline.definition(vocabulary)


def _wordpiece(metadata: Mapping[str, Any], tokens: list[str], kinds: list[int]) -> bytes:
    words = [
        token if kind in (Kind.CONTROL, Kind.UNKNOWN) else token[1:] if token[:1] == pipeline.SPACE else f"##{token}"
        for token, kind in zip(tokens, kinds, strict=True)
    ]
    ids = {word: id_ for id_, word in enumerate(words)}
    if len(ids) != len(words):
        raise CorruptModel(f"{SOURCE} has a word twice: convert the model again")
    unknown = words[_id(metadata, "unknown", len(words), 100)]
    lower = bool(metadata.get(f"{PREFIX}normalizer.lowercase", True))
    strip = bool(metadata.get(f"{PREFIX}normalizer.strip_accents", lower))
    model: Json = {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": ids}  # fmt: skip
    first = _id(metadata, "cls", len(words), _id(metadata, "bos", len(words), 101))
    last = _id(metadata, "seperator", len(words), 102)
    parts: Json = {
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": strip, "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": [words[last], last], "cls": [words[first], first]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }  # fmt: skip
    return _definition(words, kinds, model, parts)


def _id(metadata: Mapping[str, Any], name: str, size: int, default: int) -> int:
    found = metadata.get(f"{PREFIX}{name}_token_id", default)
    if not isinstance(found, int) or not 0 <= found < size:
        raise CorruptModel(f"{SOURCE} has no token {found} ({name}_token_id): convert the model again")
    return found


def _definition(tokens: list[str], kinds: list[int], model: Json, parts: Json) -> bytes:
    special = {Kind.CONTROL, Kind.UNKNOWN}
    added = [
        {"id": id_, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": kind in special}
        for id_, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in special or kind == Kind.USER_DEFINED
    ]  # fmt: skip
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "post_processor": None}
    return json.dumps({**whole, **parts, "model": model}, ensure_ascii=False).encode()


def _list(metadata: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> list[Any]:
    """An array of the metadata, given as a list or a NumPy array; empty if it is not there."""
    values = metadata.get(PREFIX + name)
    if values is None:
        return []
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    if not all(isinstance(value, kind) for value in values):
        raise CorruptModel(f"{SOURCE} has a wrong value in {PREFIX}{name}: convert the model again")
    return values

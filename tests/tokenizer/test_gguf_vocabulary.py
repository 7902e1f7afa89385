"""A GGUF's vocabulary gives the ids of the tokenizer that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizer_kinds as kinds
from tokenizer_texts import TEXTS
from tokenizers import Regex, pre_tokenizers

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.tokenizer import Tokenizer, pretokenizers, sentencepiece
from ownlm.tokenizer.fim import find_fim


def of_json(folder: Path, model: str, **more: Any) -> dict[str, Any]:
    """What a converter writes for a ``tokenizer.json``."""
    definition = json.loads((folder / "tokenizer.json").read_text())
    ids = definition["model"]["vocab"] | {token["content"]: token["id"] for token in definition["added_tokens"]}
    types = dict.fromkeys(ids, 1)
    for token in definition["added_tokens"]:
        types[token["content"]] = 3 if token["special"] else 4
    tokens = sorted(ids, key=lambda token: ids[token])
    merges = [" ".join(pair) for pair in definition["model"].get("merges", [])]
    found = {"model": model, "tokens": tokens, "token_type": [types[token] for token in tokens], "merges": merges}
    return {f"tokenizer.ggml.{key}": value for key, value in (found | more).items()}


CUTS = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "deepseek-coder": [
        pre_tokenizers.Split(Regex("[\r\n]"), "isolated"), pre_tokenizers.Split(Regex(r"\s?\p{L}+"), "isolated"),
        pre_tokenizers.Split(Regex(r"\s?\p{P}+"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥ࠀ-一가-\ud7ff]+"), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}  # fmt: skip


@pytest.mark.parametrize("pre", CUTS)
def test_byte_level(pre: str, tmp_path: Path) -> None:
    folder = kinds.byte_level(tmp_path, pre_tokenizers.Sequence(CUTS[pre]))
    metadata = of_json(folder, "gpt2", pre=pre, eos_token_id=2, bos_token_id=0, eot_token_id=0)
    ours, theirs = Tokenizer.from_gguf(metadata), Tokenizer.load(folder)
    for text in [*TEXTS, "<|im_start|>user\n1<think>"]:
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == text
    assert (ours.bos_id, ours.eos_id, ours.eos_ids) == (0, 2, {0, 2})
    with_bos = Tokenizer.from_gguf(metadata | {"tokenizer.ggml.add_bos_token": True})
    assert with_bos.encode("fox") == [0, *theirs.encode("fox")]


def words(pre: str, text: str) -> list[str]:
    found = pretokenizers.family(pre)
    cutter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated") for cut in found.cuts])
    return [word for word, _ in cutter.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "text", "expected"),
    [
        ("llama-bpe", "It'S 12345\n\n x--y", ["It", "'S", " ", "123", "45", "\n\n", " x", "--", "y"]),
        ("qwen2", "It'S 123\n x", ["It", "'S", " ", "1", "2", "3", "\n", " x"]),
        ("gpt-2", "it's 123  x", ["it", "'s", " 123", " ", " x"]),
        ("gpt-4o", "XMLHttp don't a/b/\n", ["XMLHttp", " don't", " a", "/b", "/\n"]),
        ("tekken", "XMLHttp don't 12", ["XMLHttp", " don", "'t", " ", "1", "2"]),
        ("deepseek-v3", "f(x) 1234 漢字a", ["f", "(x", ")", " ", "123", "4", " ", "漢字", "a"]),
        ("default", "a+b 1234", ["a", "+", "b", " ", "123", "4"]),
    ],
)
def test_families_cut_as_they_do(pre: str, text: str, expected: list[str]) -> None:
    assert words(pre, text) == expected


@pytest.mark.parametrize("pre", pretokenizers.FAMILIES)
def test_no_family_loses_text(pre: str) -> None:
    assert all("".join(words(pre, text)) == text for text in TEXTS)


@pytest.mark.parametrize("name", ["bpe", "unigram", "bpe, no prefix"])
def test_sentencepiece(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.SENTENCEPIECES[name])
    found = sentencepiece.parse((folder / "tokenizer.model").read_bytes(), "x")
    metadata = {
        "model": "llama" if found.algorithm == "bpe" else "t5", "tokens": found.pieces, "unknown_token_id": 0,
        "scores": np.array(found.scores, np.float32), "token_type": np.array(found.kinds, np.int32),
        "bos_token_id": 1, "eos_token_id": 2, "add_bos_token": True, "add_eos_token": False,
        "add_space_prefix": found.add_dummy_prefix, "remove_extra_whitespaces": found.remove_extra_whitespaces,
        "precompiled_charsmap": np.frombuffer(found.charsmap, np.int8),
    }  # fmt: skip
    ours = Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in metadata.items()})
    theirs = Tokenizer.load(folder)
    for text in [*TEXTS, "a<s> b</s>"]:
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)), text


def test_wordpiece(tmp_path: Path) -> None:
    folder = kinds.wordpiece(tmp_path)
    metadata = of_json(folder, "bert", unknown_token_id=1, cls_token_id=2, seperator_token_id=3, padding_token_id=0)
    words_ = [
        token if kind == 3 else token[2:] if token.startswith("##") else "\u2581" + token
        for token, kind in zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"], strict=True)
    ]
    ours, theirs = Tokenizer.from_gguf(metadata | {"tokenizer.ggml.tokens": words_}), Tokenizer.load(folder)
    assert all(ours.encode(text) == theirs.encode(text) for text in [*TEXTS, "[MASK] a"])


def test_what_cannot_be_read(tmp_path: Path) -> None:
    good = of_json(kinds.byte_level(tmp_path), "gpt2", pre="gpt-2")
    with pytest.raises(UnsupportedModel, match=r"'klingon'.*llama-bpe"):
        Tokenizer.from_gguf(good | {"tokenizer.ggml.pre": "klingon"})
    with pytest.raises(UnsupportedModel, match="'rwkv'"):
        Tokenizer.from_gguf(good | {"tokenizer.ggml.model": "rwkv"})
    for key, value in (
        ("tokens", []), ("tokens", ["a", "a"]), ("tokens", [1, 2]), ("token_type", [1]), ("merges", ["ab"]),
        ("merges", ["zz yy"]),
    ):  # fmt: skip
        with pytest.raises(CorruptModel):
            Tokenizer.from_gguf(good | {f"tokenizer.ggml.{key}": value})


FIM = {
    "Qwen2.5-coder": [
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ],
    "StarCoder2": ["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<repo_name>", "<file_sep>"],
    "CodeLlama": ["\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"],
    "DeepSeek-coder": ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    "CodeGemma": ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
}


@pytest.mark.parametrize("family", FIM)
def test_fim_tokens_are_found_by_name(family: str) -> None:
    ids = {token: rank + 10 for rank, token in enumerate(FIM[family])}
    found = find_fim(ids.get, {})
    assert found is not None
    assert (found.prefix, found.suffix, found.middle) == (10, 11, 12)
    assert (found.pad, found.repository, found.file) == ((13, 14, 15) if len(ids) > 3 else (None, None, None))
    assert found.ends == set(ids.values())
    assert find_fim({}.get, {}) is None


def test_fim_prompt_cannot_be_broken_out_of(tmp_path: Path) -> None:
    folder = kinds.byte_level(tmp_path)
    definition = json.loads((folder / "tokenizer.json").read_text())
    size = len(definition["model"]["vocab"]) + 1
    for rank, token in enumerate(["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]):
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        definition["added_tokens"].append({"id": size + rank, "content": token, "special": rank > 0, **flags})
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    ours = Tokenizer.load(folder)
    assert ours.fim is not None
    ids = ours.fim.prompt(ours, "def f(<fim_middle>", "<fim_prefix>\n  return x")
    assert [id_ for id_ in ids if id_ >= size] == [size, size + 1, size + 2]
    assert ours.decode(ids) == "<fim_prefix>def f(<fim_middle><fim_suffix><fim_prefix>\n  return x<fim_middle>"
    assert ours.fim.prompt(ours, "", "") == [size, size + 1, size + 2]

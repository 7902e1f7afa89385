"""How byte-level BPE families cut text into words before merging, by the name a GGUF gives (``tokenizer.ggml.pre``).

The patterns are those of the families' own ``tokenizer.json``. Where llama.cpp rewrites one for its own regex engine
(tekken and gpt-4o ask there for ASCII case alone), the original is used: ids then equal what the model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ownlm.errors import UnsupportedModel

Json = dict[str, Any]

_ENDINGS = "'s|'t|'re|'ve|'m|'ll|'d"
_ANY_CASE = f"(?i:{_ENDINGS})"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_PATH_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""

GPT2 = rf"{_ENDINGS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_ANY_CASE}|{_LETTERS}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_BLANKS}"
QWEN2 = rf"{_ANY_CASE}|{_LETTERS}|\p{{N}}|{_SYMBOLS}|{_BLANKS}"
QWEN35 = rf"{_ANY_CASE}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
GPT4O = rf"{_CASED[0]}{_ANY_CASE}?|{_CASED[1]}{_ANY_CASE}?|\p{{N}}{{1,3}}|{_PATH_SYMBOLS}|{_BLANKS}"
TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_PATH_SYMBOLS}|{_BLANKS}"
_PUNCTUATED = rf"{_ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
DEEPSEEK3 = rf"{_PUNCTUATED}| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_BLANKS}"
_HAN_TO_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DIGIT = r"\p{N}"


@dataclass(frozen=True, slots=True)
class Family:
    """``cuts``: patterns applied one after the other. ``whole_words``: a word that is in the vocabulary is not built
    from merges. ``add_bos``: the default where the file is silent."""

    cuts: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False
    nfc: bool = False


_GPT2 = Family((GPT2,))
_DIGITS = Family((_DIGIT, GPT2))
_LLAMA3 = Family((LLAMA3,), whole_words=True, add_bos=True)
_CL100K = Family((LLAMA3,))
_QWEN2 = Family((QWEN2,), nfc=True)

FAMILIES: dict[str, Family] = {
    "default": Family((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    **dict.fromkeys(
        ("gpt-2", "phi-2", "mpt", "exaone4", "trillion", "granite-docling", "modern-bert", "mellum"), _GPT2
    ),
    "olmo": Family((GPT2,), nfc=True),
    **dict.fromkeys(("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), _CL100K),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _QWEN2),
    "stablelm2": Family((QWEN2,)),
    "hunyuan": Family((QWEN2,)),
    "qwen35": Family((QWEN35,), nfc=True),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2"), Family((GPT4O,))),
    "tekken": Family((TEKKEN,), whole_words=True, add_bos=True),
    "deepseek-coder": Family((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_TO_HANGUL, _DIGIT)),
    **dict.fromkeys(("deepseek-v3", "hunyuan-dense"), Family((r"\p{N}{1,3}", _HAN_KANA, DEEPSEEK3))),
}


def family(name: str) -> Family:
    """The family of that name. Raises UnsupportedModel with the names there are."""
    try:
        return FAMILIES[name]
    except KeyError:
        known = ", ".join(sorted(FAMILIES))
        raise UnsupportedModel(f"GGUF pre-tokenizer {name!r} is not supported; there are: {known}") from None


def pre_tokenizer(found: Family) -> Json:
    """The ``pre_tokenizer`` of a definition."""
    cuts: list[Json] = [
        {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False} for cut in found.cuts
    ]
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*cuts, plain]}

"""A SentencePiece vocabulary as a ``tokenizers`` definition (the content of a ``tokenizer.json``).

Text is normalized between control symbols (character map, white space, the prefix, U+2581 for space); user-defined
symbols are cut out of it; what is left goes through BPE or unigram whole. The ids are SentencePiece's own.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from ownlm.tokenizer.sentencepiece import Kind, Vocabulary

SPACE = "\u2581"
Json = dict[str, Any]


def definition(vocabulary: Vocabulary, *, prefix: str = "always") -> bytes:
    """``prefix``: where the dummy prefix goes, "always" (after each control symbol too) or "first" (of the text)."""
    first = prefix == "first" and vocabulary.add_dummy_prefix
    isolated = [] if _as_added(vocabulary) else _of_kind(vocabulary, Kind.USER_DEFINED)
    steps: list[Json] = []
    if first:
        steps.append({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False})
    if isolated:
        choice = "|".join(re.escape(piece) for piece in sorted(isolated, key=len, reverse=True))
        steps.append({"type": "Split", "pattern": {"Regex": choice}, "behavior": "Isolated", "invert": False})
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": _added(vocabulary),
            "normalizer": _normalizer(vocabulary, vocabulary.add_dummy_prefix and not first),
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps} if steps else None,
            "post_processor": None,
            "decoder": _decoder(vocabulary),
            "model": _bpe(vocabulary, bool(isolated)) if vocabulary.algorithm == "bpe" else _unigram(vocabulary),
        },
        ensure_ascii=False,
    ).encode()


def merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The pairs that BPE may join, best first.

    SentencePiece joins the neighbours whose union has the best score, so each piece gives one rule for each way to
    halve it. Among rules of one score the longer left half comes first: a run then grows from its left end, as there.
    """
    usable = {Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED} if _as_added(vocabulary) else {Kind.NORMAL, Kind.UNUSED}
    scores = {
        piece: score
        for piece, score, kind in zip(vocabulary.pieces, vocabulary.scores, vocabulary.kinds, strict=True)
        if kind in usable
    }
    found = [
        (-score, -cut, len(piece), piece)
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    found.sort(key=lambda rule: rule[:3])
    return [(piece[:-cut], piece[-cut:]) for _, cut, _, piece in found]


def _as_added(vocabulary: Vocabulary) -> bool:
    """User-defined symbols may be added tokens where no prefix would follow them (Gemma), and many are fast there."""
    return not vocabulary.add_dummy_prefix


def _of_kind(vocabulary: Vocabulary, kind: Kind) -> list[str]:
    return [piece for piece, found in zip(vocabulary.pieces, vocabulary.kinds, strict=True) if found == kind]


def _added(vocabulary: Vocabulary) -> list[Json]:
    """Control symbols, the unknown piece, and user-defined symbols without spaces (those with are left to BPE)."""
    special = {Kind.CONTROL, Kind.UNKNOWN}
    plain = {Kind.USER_DEFINED} if _as_added(vocabulary) else set()
    return [
        {"id": id_, "content": piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": kind in special}
        for id_, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.kinds, strict=True))
        if kind in special or (kind in plain and SPACE not in piece)
    ]  # fmt: skip


def _normalizer(vocabulary: Vocabulary, prepend: bool) -> Json | None:
    steps: list[Json] = []
    if vocabulary.charsmap:
        charsmap = base64.b64encode(vocabulary.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if vocabulary.remove_extra_whitespaces:
        steps.append({"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if prepend:
        steps.append({"type": "Prepend", "prepend": SPACE if vocabulary.escape_whitespaces else " "})
    if vocabulary.escape_whitespaces:
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return {"type": "Sequence", "normalizers": steps} if steps else None


def _decoder(vocabulary: Vocabulary) -> Json:
    steps: list[Json] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if vocabulary.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _bpe(vocabulary: Vocabulary, isolated: bool) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": vocabulary.pieces[vocabulary.unk_id],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": vocabulary.byte_fallback,
        "ignore_merges": isolated,  # so that a symbol cut out by itself is one token, whatever its letters
        "vocab": {piece: id_ for id_, piece in enumerate(vocabulary.pieces)},
        "merges": merges(vocabulary),
    }


def _unigram(vocabulary: Vocabulary) -> Json:
    return {
        "type": "Unigram",
        "unk_id": vocabulary.unk_id,
        "byte_fallback": vocabulary.byte_fallback,
        "vocab": list(zip(vocabulary.pieces, vocabulary.scores, strict=True)),
    }

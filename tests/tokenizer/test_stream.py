"""Streamed pieces are exactly the decoded text, and never half a character."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tokenizer_kinds as kinds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_texts import EMOJI, TEXTS

from ownlm.tokenizer import Detokenizer, Tokenizer

NAMES = ["byte_level", "wordpiece", "bpe", "bpe, no prefix", "unigram", "unigram, bytes"]


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    if request.param in kinds.SENTENCEPIECES:
        pytest.importorskip("sentencepiece")
        return Tokenizer.load(kinds.sentencepiece(folder, **kinds.SENTENCEPIECES[request.param]))
    return Tokenizer.load(getattr(kinds, request.param)(folder))


def pieces(tokenizer: Tokenizer, ids: list[int], skip: bool = False) -> list[str]:
    stream = Detokenizer(tokenizer, skip_special=skip)
    return [*(stream.push(id_) for id_ in ids), stream.finish()]


def test_every_script(tokenizer: Tokenizer) -> None:
    for text in [*TEXTS, *(f"{a}{b}" for a in EMOJI for b in EMOJI)]:
        ids = tokenizer.encode(text, add_special=False)
        found = pieces(tokenizer, ids)
        assert "".join(found) == tokenizer.decode(ids)
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in found), text


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 710), max_size=40), skip=st.booleans())
def test_any_ids(tokenizer: Tokenizer, ids: list[int], skip: bool) -> None:
    """Against the library's own decoder, where its bytes are characters (elsewhere see SentencePiece's test)."""
    found = pieces(tokenizer, ids, skip)
    whole = tokenizer.decode(ids, skip_special=skip)
    assert "".join(found) == whole
    theirs = tokenizer._tokenizer.decode(ids, skip_special_tokens=skip)
    if "\ufffd" not in theirs or tokenizer.rule.kind == "bytes":
        assert whole == theirs
    for end in range(len(ids)):  # what is out never changes
        assert whole.startswith("".join(found[:end]))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special=False)
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids)
    if tokenizer.rule.kind == "bytes":
        assert "".join(found) == text
        assert not any("\ufffd" in piece for piece in found) or "\ufffd" in text


def test_the_start_of_a_character_waits_for_its_end(tokenizer: Tokenizer) -> None:
    if tokenizer.rule.kind != "bytes" and not tokenizer.rule.fallback:
        pytest.skip("no bytes in this vocabulary")
    ids = tokenizer.encode("\U0001f469", add_special=False)
    if tokenizer.token(ids[0]) == "\u2581":
        ids = ids[1:]
    if len(ids) < 2 or tokenizer.token_bytes(ids[0])[:1] != b"\xf0":
        pytest.skip("one token here")
    stream = Detokenizer(tokenizer)
    assert [stream.push(id_) for id_ in ids] == [""] * (len(ids) - 1) + ["\U0001f469"]
    cut = pieces(tokenizer, ids[:-1])
    assert set(cut[:-1]) == {""}
    assert set(cut[-1]) == {"\ufffd"}


def test_a_token_costs_the_same_at_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the fox é 漢 " * 20, add_special=False)
    stream = Detokenizer(tokenizer)

    def seconds(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            stream.extend(ids)
        return time.perf_counter() - started

    seconds(2)
    early = min(seconds(3) for _ in range(5))
    seconds(300)
    late = min(seconds(3) for _ in range(5))
    assert late < 6 * early

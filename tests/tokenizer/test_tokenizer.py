"""The tokenizer agrees with the library it wraps, cuts nothing unasked, and keeps spans true."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm import hub
from ownlm.errors import CorruptModel, InvalidSetting, NotFound
from ownlm.tokenizer import Tokenizer, tokenizer

TEXTS = [
    "The fee is £12.50.",
    "",
    " ",
    "naïve café über straße",
    "日本語 text",
    "don't stop-me_now",
    "😀 emoji\u200bzero",
    "a\x00b",
]
SHIPPED = Tokenizer.load(hub.resolve())


def test_ids_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(hub.resolve() / "tokenizer.json"))
    theirs.backend_tokenizer.no_truncation()
    theirs.backend_tokenizer.no_padding()
    assert SHIPPED.encode_batch(TEXTS) == theirs(TEXTS)["input_ids"]


def test_nothing_is_padded_or_cut_unless_asked() -> None:
    long = "word " * 1000
    assert [len(ids) for ids in SHIPPED.encode_batch([long, "word"])] == [1002, 3]
    cut, short = SHIPPED.encode_batch([long, "word"], max_length=10)
    assert len(cut) == 10
    assert (cut[0], cut[-1]) == (short[0], short[-1])
    with pytest.raises(InvalidSetting, match="max_length is 2"):
        SHIPPED.encode_batch(["word"], max_length=2)


def test_count_and_offsets_leave_special_tokens_out() -> None:
    text = "The fee is $12."
    assert SHIPPED.count(text) == 6
    assert [text[a:b] for a, b in SHIPPED.offsets(text)] == ["The", "fee", "is", "$", "12", "."]
    assert SHIPPED.count("") == 0
    assert SHIPPED.offsets("") == []


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(codec=None), max_size=80))
def test_spans_lie_in_the_text_in_order(text: str) -> None:
    spans = SHIPPED.offsets(text)
    assert SHIPPED.count(text) == len(spans) == len(SHIPPED.encode_batch([text])[0]) - 2
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    assert spans == sorted(spans)


def test_half_a_surrogate_pair_is_read_as_one_unknown_character() -> None:
    text = "fee \ud83d is"
    spans = SHIPPED.offsets(text)
    assert text[slice(*spans[0])] == "fee"
    assert text[slice(*spans[-1])] == "is"


def test_a_long_text_in_pieces_is_the_text_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The fee is £12, said the café's  owner.\n\n" * 40
    whole = SHIPPED.offsets(text)
    monkeypatch.setattr(tokenizer, "_PIECE", 50)
    assert SHIPPED.offsets(text) == whole
    assert SHIPPED.count(text) == len(whole)


def test_ten_megabytes_in_one_line_are_counted() -> None:
    assert SHIPPED.count("x" * 10_000_000) >= 1


def test_threads_share_a_tokenizer() -> None:
    expected = SHIPPED.encode_batch(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: SHIPPED.encode_batch(TEXTS), range(50)))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": "1.0"}', "\x00\xff"])
def test_a_damaged_file_is_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CorruptModel, match=r"tokenizer\.json is not a valid tokenizer"):
        Tokenizer.load(tmp_path)


def test_an_empty_vocabulary_and_no_file(tmp_path: Path) -> None:
    definition = json.loads((hub.resolve() / "tokenizer.json").read_bytes())
    definition["model"]["vocab"], definition["added_tokens"], definition["post_processor"] = {}, [], None
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(CorruptModel, match="vocabulary"):
        Tokenizer.load(tmp_path)
    with pytest.raises(NotFound, match="not there"):
        Tokenizer.load(tmp_path / "none")

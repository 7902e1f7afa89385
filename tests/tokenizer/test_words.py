"""The fast way from text to ids gives the library's ids, for every character and every text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_texts import TEXTS

from ownlm.tokenizer import Tokenizer
from ownlm.tokenizer.bpe import train_bpe
from ownlm.tokenizer.literal import Literal
from ownlm.tokenizer.words import ASKED, WordEncoder

SIGNS = st.text(st.sampled_from("aZ's'LLdvʼſÉé1²Ⅷ٣ .,!\n\r\t\x0b\x1c\x85\xa0\u2028\u3000漢🙂\u0301<|>_"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bpe")
    train_bpe([*TEXTS, "we'll say it's 1984, isn't it? été\n\n  def run():\r\n\treturn ...", *TEXTS], 400, folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def literal(tokenizer: Tokenizer) -> Literal:
    return tokenizer.literal(tokenizer.added_ids)


@pytest.fixture(scope="module")
def encoder(literal: Literal) -> WordEncoder:
    made = WordEncoder(literal)
    assert made.fast
    return made


@given(st.text() | SIGNS | st.lists(SIGNS | st.sampled_from(TEXTS)).map("\n".join))
@settings(max_examples=300, deadline=None)
def test_any_text(literal: Literal, encoder: WordEncoder, text: str) -> None:
    assert encoder.encode_batch([text]) == literal.encode_batch([text])


def test_every_character_beside_every_kind(literal: Literal, encoder: WordEncoder) -> None:
    for kind in ("a1", " !", "\n'", "\r\n "):
        texts = [f"{chr(code)}{kind}{chr(code)}{chr(code)} {kind}" for code in range(ASKED + 64)]
        assert encoder.encode_batch(texts) == literal.encode_batch(texts)


def test_characters_mixed(literal: Literal, encoder: WordEncoder) -> None:
    chance = random.Random(0)
    for limit in (0x80, 0x250, ASKED, 0xD800):
        texts = ["".join(chr(chance.randrange(limit)) for _ in range(200)) for _ in range(60)]
        assert encoder.encode_batch(texts) == literal.encode_batch(texts)


def test_a_full_table(literal: Literal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownlm.tokenizer.words.MOST_WORDS", 3)
    text = "one two three four five " * 3 + "x" * 100
    encoder = WordEncoder(literal)
    assert encoder.encode_batch([text, text]) == literal.encode_batch([text, text])
    assert len(encoder._words) == 3


def test_text_spells_no_token(encoder: WordEncoder, tokenizer: Tokenizer) -> None:
    (ids,) = encoder.encode_batch(["<|endoftext|><tool_call>"])
    assert not set(ids) & tokenizer.added_ids


def test_other_tokenizers_are_left_to_the_library(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import json

    definition = json.loads(tokenizer.backend.to_str()) | {"normalizer": {"type": "NFC"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition), "utf-8")
    other = Tokenizer.load(tmp_path)
    encoder = WordEncoder(other.literal(other.added_ids))
    assert not encoder.fast
    assert encoder.encode_batch(["e\u0301 x"]) == [other.encode("\xe9 x")]

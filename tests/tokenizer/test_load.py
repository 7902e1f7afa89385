"""Each kind of tokenizer file gives the ids and the text that its own library gives."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
import tokenizer_kinds as kinds
from tokenizer_texts import SCRIPTS, TEXTS

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel
from ownlm.tokenizer import Tokenizer

SPECIALS = ["<|im_start|>user\nhi<|im_end|>", "a <think> b", "<|endoftext|>", "[MASK] x [SEP]", "<s>a</s> b<s>"]
# Characters that a character map joins are left out where there is one: see test_a_joined_sequence below.
JOINED = {SCRIPTS["decomposed"], "a\u0301\u0302", " ".join(SCRIPTS.values())}


@pytest.mark.parametrize("kind", ["byte_level", "wordpiece"])
def test_tokenizer_json_equals_transformers(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = getattr(kinds, kind)(tmp_path)
    ours, theirs = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS + SPECIALS:
        ids = theirs(text)["input_ids"]
        assert ours.encode(text) == ids, text
        assert ours.encode(text, add_special=False) == theirs(text, add_special_tokens=False)["input_ids"], text
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False), text
        skipped = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(ids, skip_special=True) == skipped, text
    assert ours.eos_id == theirs.eos_token_id
    assert ours.vocab_size == len(theirs)


@pytest.mark.parametrize(("bos", "eos"), [(True, True), (True, False), (False, True), (False, False)])
def test_settings_put_bos_and_eos_around(bos: bool, eos: bool, tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.BPE)
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": bos, "add_eos_token": eos}))
    ours = Tokenizer.load(folder)
    for text in ("", "the fox", "</s>"):
        plain = ours.encode(text, add_special=False)
        assert ours.encode(text) == [1] * bos + plain + [2] * eos
        literal = ours.encode(text, add_special=False, parse_special=False)
        assert ours.encode(text, parse_special=False) == [1] * bos + literal + [2] * eos
        assert ours.decode(literal) == text


def test_a_tokenizer_json_decides_itself_on_bos_and_eos(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = kinds.byte_level(tmp_path)
    settings = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert Tokenizer.load(folder).encode("the fox") == theirs("the fox")["input_ids"]


@pytest.mark.parametrize("name", kinds.SENTENCEPIECES)
def test_tokenizer_model_equals_sentencepiece(name: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentencepiece")
    options = kinds.SENTENCEPIECES[name]
    folder = kinds.sentencepiece(tmp_path, **options)
    theirs = library.SentencePieceProcessor(str(folder / "tokenizer.model"))
    ours = Tokenizer.load(folder)
    maps = options.get("normalization_rule_name") != "identity"
    for text in [*TEXTS, "the fox<mark>fox the", "<mark>", " <mark> a", "a<start_of_turn> b"]:
        if (maps and text in JOINED) or (name == "unigram, bytes" and "<0x" in text):
            continue  # what `tokenizers` itself cannot do, and so transformers cannot: see docs/decisions.md
        ids = theirs.encode(text)
        assert ours.encode(text, add_special=False) == ids, text
        assert ours.decode(ids) == theirs.decode(ids).replace(" \u2047 ", "<unk>"), text
    assert ours.vocab_size == theirs.get_piece_size()
    assert (ours.bos_id, ours.eos_ids) == (1, {2})
    assert ours.encode("fox")[0] == 1


def test_a_joined_sequence_is_as_transformers_has_it(tmp_path: Path) -> None:
    """`tokenizers` looks a whole grapheme up in the character map, SentencePiece the longest part of one."""
    pytest.importorskip("sentencepiece")
    ours = Tokenizer.load(kinds.sentencepiece(tmp_path, **kinds.UNIGRAM))
    assert ours.encode("e\u0301") == ours.encode("\u00e9")


def test_any_ids_decode_as_sentencepiece_decodes_them(tmp_path: Path) -> None:
    """Byte tokens that are no character too: a U+FFFD for each byte, and whole characters beside them are kept."""
    library = pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.BPE)
    theirs, ours = library.SentencePieceProcessor(str(folder / "tokenizer.model")), Tokenizer.load(folder)
    source = random.Random(3)
    for _ in range(300):
        ids = [source.randrange(3, 259 if source.random() < 0.7 else 700) for _ in range(source.randrange(1, 12))]
        if ids[0] == 3 + 0x20:
            continue  # a first byte that is a space: `tokenizers` drops it as the prefix, SentencePiece does not
        assert ours.decode(ids) == theirs.decode(ids), ids


def test_prefix_after_control_symbols_as_the_family_has_it(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.BPE)
    always = [Tokenizer.load(folder).token(id_) for id_ in Tokenizer.load(folder).encode("fox</s>fox")]
    (folder / "tokenizer_config.json").write_text('{"legacy": false}')
    first = [Tokenizer.load(folder).token(id_) for id_ in Tokenizer.load(folder).encode("fox</s>fox")]
    assert always == ["<s>", "\u2581fox", "</s>", "\u2581fox"]
    assert first[:3] == always[:3]
    assert "".join(first[3:]) == "fox"


def test_settings_add_tokens_to_a_sentencepiece_model(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.BPE)
    size = Tokenizer.load(folder).vocab_size
    added = {
        str(size): {"content": "<|user|>", "special": True, "rstrip": True},
        "2": {"content": "</s>", "special": True},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added, "eos_token": "<|user|>"}))
    ours = Tokenizer.load(folder)
    assert ours.eos_id == size == ours.encode("<|user|>\nfox")[1]
    assert ours.decode(ours.encode("<|user|>\nfox")[2:]) == "fox"
    added["5"] = {"content": "<|user|>", "special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    with pytest.raises(CorruptModel):
        Tokenizer.load(folder)


def test_ends_of_a_text_come_from_every_file(tmp_path: Path) -> None:
    folder = kinds.byte_level(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    (folder / "config.json").write_text('{"eos_token_id": 5}')
    assert Tokenizer.load(folder).eos_ids == {0, 2, 5}


@pytest.mark.parametrize("kind", ["byte_level", "wordpiece"])
def test_text_without_special_tokens_cannot_spell_one(kind: str, tmp_path: Path) -> None:
    ours = Tokenizer.load(getattr(kinds, kind)(tmp_path))
    for text in [*SPECIALS, "<|im_end|>" * 3, "x<|im_end|>y", "<|im_<|im_end|>end|>"]:
        assert not set(ours.encode(text, add_special=False, parse_special=False)) & (ours.special_ids - {1})
    for text in TEXTS:
        assert ours.encode(text, parse_special=False) == ours.encode(text), text


@pytest.mark.parametrize("name", ["bpe", "bpe, no prefix", "unigram"])
def test_sentencepiece_text_cannot_spell_a_control_symbol(name: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentencepiece")
    folder = kinds.sentencepiece(tmp_path, **kinds.SENTENCEPIECES[name])
    theirs, ours = library.SentencePieceProcessor(str(folder / "tokenizer.model")), Tokenizer.load(folder)
    for text in ["<s>fox</s>", "</s>", "fox <s> fox", "<unk>"]:
        assert ours.encode(text, add_special=False, parse_special=False) == theirs.encode(text), text


def test_token_bytes(tmp_path: Path) -> None:
    byte_level = Tokenizer.load(kinds.byte_level(tmp_path / "a"))
    for text in TEXTS:
        assert b"".join(map(byte_level.token_bytes, byte_level.encode(text))) == text.encode(), text
    assert byte_level.token_bytes(1) == b"<|im_start|>"
    assert byte_level.token_bytes(99999) == b""
    assert byte_level.token(99999) is None is byte_level.token(-1)
    pytest.importorskip("sentencepiece")
    pieces = Tokenizer.load(kinds.sentencepiece(tmp_path / "b", **kinds.BPE))
    ids = pieces.encode("\u00e9 fox\u0001", add_special=False)
    assert b"".join(map(pieces.token_bytes, ids)) == " \u00e9 fox\u0001".encode()


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x0a\x05", b"PK\x03\x04"]
)
def test_a_damaged_model_is_corrupt(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(CorruptModel, match=r"tokenizer\.model"):
        Tokenizer.load(tmp_path)


def test_mutated_models_are_refused_or_read(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    good = (kinds.sentencepiece(tmp_path, **kinds.BPE) / "tokenizer.model").read_bytes()
    source = random.Random(1)
    read = 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(source.choice([1, 1, 3])):
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        if source.random() < 0.3:
            del data[source.randrange(len(data)) :]
        (tmp_path / "tokenizer.model").write_bytes(data)
        try:
            Tokenizer.load(tmp_path).encode("the fox \u00e9")
            read += 1
        except (CorruptModel, UnsupportedModel):
            pass
    assert read < 60


def test_one_file_and_no_file(tmp_path: Path) -> None:
    folder = kinds.byte_level(tmp_path)
    assert Tokenizer.load(folder / "tokenizer.json").encode("fox") == Tokenizer.load(folder).encode("fox")
    with pytest.raises(NotFound, match="not there"):
        Tokenizer.load(tmp_path / "other.json")
    for text in ("[]", "{", '{"eos_token": '):
        (folder / "tokenizer_config.json").write_text(text)
        with pytest.raises(CorruptModel, match="tokenizer_config"):
            Tokenizer.load(folder)


DATA = Path(os.environ.get("OWNLM_DATA", "/nowhere")) / "tokenizers"


@pytest.mark.skipif(not DATA.is_dir(), reason="OWNLM_DATA is not set")
def test_real_files() -> None:
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("sentencepiece")
    for file in sorted(DATA.glob("*tokenizer.json")):
        ours, theirs = Tokenizer.load(file), transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
        theirs.backend_tokenizer.no_truncation()
        theirs.backend_tokenizer.no_padding()
        for text in TEXTS + SPECIALS:
            ids = theirs(text)["input_ids"]
            assert ours.encode(text) == ids, (file.name, text)
            assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False), (file.name, text)
    for file in sorted(DATA.glob("*.model")):
        ours, pieces = Tokenizer.load(file), library.SentencePieceProcessor(str(file))
        for text in TEXTS:
            if file.name.startswith("t5") and text in JOINED:
                continue
            assert ours.encode(text, add_special=False) == pieces.encode(text), (file.name, text)
    model, fast = Tokenizer.load(DATA / "mistral_tokenizer.model"), Tokenizer.load(DATA / "mistral_tokenizer.json")
    assert all(model.encode(text) == fast.encode(text) for text in TEXTS + SPECIALS)

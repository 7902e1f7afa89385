"""A trained byte-level BPE: lossless, deterministic, as large as asked; its template as transformers renders it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import InvalidSetting
from ownlm.tokenizer import ChatTemplate, Tokenizer
from ownlm.tokenizer.bpe import SEPARATOR, SMALLEST, SPECIAL_TOKENS, TOOL_TOKENS, train_bpe

WORDS = re.findall(
    r"\S+",
    "the house of words that a machine reads says what it was shown in 1984 or 2015: Größe, naïve, 漢字, child",
)
TEXTS = [" ".join(random.Random(seed).choices(WORDS, k=40)) for seed in range(60)]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Will it rain?"},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": '{"rain": true}', "tool_call_id": "call00001"},
    {"role": "tool", "content": "none", "tool_call_id": "call00002"},
    {"role": "assistant", "content": "Yes, in Köln."},
    {"role": "user", "content": "Thanks."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bpe")
    train_bpe(TEXTS, 340, made)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


def test_the_size_is_the_one_asked_for(folder: Path, tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 340
    assert [tokenizer.id_of(token) for token in (*SPECIAL_TOKENS, *TOOL_TOKENS)] == list(range(10))
    assert tokenizer.special_ids == frozenset(range(6))
    assert {tokenizer.token(id_) for id_ in tokenizer.eos_ids} == {"<|im_end|>", SEPARATOR}
    assert tokenizer.encode("the house")[0] not in tokenizer.eos_ids  # no BOS
    assert tokenizer.fim is not None


def test_order_of_texts_does_not_matter(folder: Path, tmp_path: Path) -> None:
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    train_bpe(iter(shuffled), 340, tmp_path)
    for file in folder.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_more_than_the_text_supports(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"the text supports no more than 2\d\d tokens"):
        train_bpe(["one two one two"], 4096, tmp_path)
    with pytest.raises(InvalidSetting, match=f"at least {SMALLEST}"):
        train_bpe(TEXTS, SMALLEST - 1, tmp_path)
    assert not list(tmp_path.iterdir())


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, parse_special=False)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(range(6))


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.token(id_) for id_ in tokenizer.encode("1984 2015")]
    assert not [token for token in tokens if token and sum(map(str.isdigit, token)) > 1]


def test_template_renders_as_transformers_renders_it(folder: Path, tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.eos_token == "<|im_end|>"
    chat = ChatTemplate.load(folder, tokenizer)
    for tools in (None, [WEATHER]):
        for end in range(1, len(MESSAGES) + 1):
            for start in (0, 1):
                for prompt in (False, True):
                    messages = MESSAGES[start:end]
                    if not messages:
                        continue
                    more = {"tools": tools, "add_generation_prompt": prompt}
                    ours = chat.render(messages, **more)
                    assert ours.text == theirs.apply_chat_template(messages, tokenize=False, **more)
                    assert ours.ids == theirs.apply_chat_template(messages, return_dict=False, **more)
                    assert ours.notes == ()


def test_loss_mask_is_what_the_assistant_says(tokenizer: Tokenizer, folder: Path) -> None:
    chat = ChatTemplate.load(folder, tokenizer)
    found = chat.render(MESSAGES, [WEATHER], add_generation_prompt=False, loss_mask=True)
    assert found.loss_mask is not None
    said = tokenizer.decode([id_ for id_, mask in zip(found.ids, found.loss_mask, strict=True) if mask])
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
    assert said == f"Let me look.\n{call}\n{call}<|im_end|>Yes, in Köln.<|im_end|>"


def test_text_that_spells_a_token_stays_text(tokenizer: Tokenizer, folder: Path) -> None:
    chat = ChatTemplate.load(folder, tokenizer)
    found = chat.render([{"role": "user", "content": "<|im_end|><tool_call>"}], add_generation_prompt=False)
    assert found.ids.count(tokenizer.id_of("<|im_end|>")) == 1
    assert tokenizer.id_of("<tool_call>") not in found.ids


def test_unknown_roles_are_refused(tokenizer: Tokenizer, folder: Path) -> None:
    from ownlm.errors import TemplateError

    with pytest.raises(TemplateError, match="not from function"):
        ChatTemplate.load(folder, tokenizer).render([{"role": "function", "content": "x", "name": "f"}])


def test_settings_name_no_folder(folder: Path) -> None:
    settings_ = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert settings_["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert str(folder) not in (folder / "tokenizer.json").read_text("utf-8")

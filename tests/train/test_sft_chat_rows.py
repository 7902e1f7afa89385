"""Conversations become examples: what the assistant says is learnt, and a bad line is named."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuning_support import CALLED, TALK, TOOL, template, write_lines

from ownlm.errors import DiskFull, InvalidData, InvalidSetting, OwnLMError
from ownlm.files import atomic_write
from ownlm.tokenizer import ChatTemplate
from ownlm.train import examples as store
from ownlm.train.batch import IGNORED
from ownlm.train.chat_rows import chat_rows
from ownlm.train.examples import Examples, open_examples


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    return template(tmp_path_factory.mktemp("tokenizer"))


def made(chat: ChatTemplate, folder: Path, rows: list[Any], **settings: Any) -> Examples:
    path = write_lines(folder / "chat.jsonl", rows)
    return chat_rows([path], chat, folder / "cache", **{"length": 400} | settings)


def learnt(chat: ChatTemplate, row: Any) -> list[str]:
    """The texts of the runs of targets."""
    runs: list[list[int]] = [[]]
    for target in row.targets.tolist():
        if target == IGNORED:
            runs.append([])
        else:
            runs[-1].append(target)
    return [chat.tokenizer.decode(run) for run in runs if run]


def test_what_the_assistant_says_is_learnt_and_nothing_else(chat: ChatTemplate, tmp_path: Path) -> None:
    found = made(chat, tmp_path, [{"messages": TALK}, {"messages": CALLED, "tools": [TOOL]}])
    assert len(found) == 2
    assert learnt(chat, found[0]) == ["the gate<|im_end|>", "at nine<|im_end|>"]
    call = '<tool_call>\n{"name": "open", "arguments": {"gate": 1}}\n</tool_call><|im_end|>'
    assert learnt(chat, found[1]) == [call, "it is open<|im_end|>"]
    text = chat.tokenizer.decode(found[1].ids.tolist())
    assert text == chat.render(CALLED, [TOOL], add_generation_prompt=False).text
    assert '"name": "open"' in text.split("<|im_end|>")[0]  # the tools are read
    for row in (found[0], found[1]):
        wanted = row.targets[:-1] != IGNORED
        np.testing.assert_array_equal(row.targets[:-1][wanted], row.ids[1:][wanted])
        assert row.targets[-1] == IGNORED
    assert found.facts["learnt"] == sum(int((found[at].targets != IGNORED).sum()) for at in (0, 1))


def test_weights_say_how_often_and_what(chat: ChatTemplate, tmp_path: Path) -> None:
    quiet = [*TALK[:1], {**TALK[1], "weight": 0}, TALK[2], {**TALK[3], "weight": 1}]
    rows = [{"messages": quiet}, {"messages": TALK, "weight": 3}, {"messages": TALK, "weight": 0}]
    found = made(chat, tmp_path, rows)
    assert len(found) == 4
    assert learnt(chat, found[0]) == ["at nine<|im_end|>"]
    assert found[0].ids.tolist() == found[1].ids.tolist() == found[3].ids.tolist()
    assert found.facts["conversations"] == 3
    assert found.facts["shown"] == 4


def test_parallel_tool_calls_reach_the_template(chat: ChatTemplate, tmp_path: Path) -> None:
    source = "{% if parallel_tool_calls %}<|im_start|>{% endif %}" + chat.templates["default"]
    other = ChatTemplate(source, chat.tokenizer)
    found = made(other, tmp_path, [{"messages": TALK}, {"messages": TALK, "parallel_tool_calls": True}])
    assert len(found[1].ids) == len(found[0].ids) + 1


def test_the_cache_is_used_until_something_changes(
    chat: ChatTemplate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(chat, tmp_path, [{"messages": TALK}])
    with monkeypatch.context() as broken:
        broken.setattr(ChatTemplate, "render", None)
        again = made(chat, tmp_path, [{"messages": TALK}])
    np.testing.assert_array_equal(again[0].ids, first[0].ids)
    assert len(made(chat, tmp_path, [{"messages": TALK}] * 2)) == 2
    other = ChatTemplate("{{ '\n' }}" + chat.templates["default"], chat.tokenizer)
    assert made(other, tmp_path, [{"messages": TALK}])[0].ids.tolist() != first[0].ids.tolist()
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_packed_file_is_read(chat: ChatTemplate, tmp_path: Path) -> None:
    line = (json.dumps({"messages": TALK}) + "\n").encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line))
    (tmp_path / "b.jsonl.xz").write_bytes(lzma.compress(line * 2))
    (tmp_path / "c.jsonl.zst").write_bytes(pytest.importorskip("zstandard").compress(line))
    files = [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.xz", tmp_path / "c.jsonl.zst"]
    assert len(chat_rows(files, chat, tmp_path / "cache", length=99)) == 4


def test_a_conversation_that_is_too_long_is_refused_or_left_out_and_never_cut(
    chat: ChatTemplate, tmp_path: Path
) -> None:
    rows = [{"messages": TALK[:2]}, {"messages": TALK}]
    both = made(chat, tmp_path, rows)
    length = len(both[1].ids)
    assert len(made(chat, tmp_path, rows, length=length)) == 2
    with pytest.raises(
        InvalidData, match=rf"chat.jsonl, line 2 is {length} tokens long where a row holds {length - 1}"
    ):
        made(chat, tmp_path, rows, length=length - 1)
    short = made(chat, tmp_path, rows, length=length - 1, too_long="leave_out")
    assert len(short) == 1
    assert short.facts["left_out"] == 1
    assert short[0].ids.tolist() == both[0].ids.tolist()
    with pytest.raises(InvalidData, match="no conversation of at most 3 tokens; 2 are longer"):
        made(chat, tmp_path, rows, length=3, too_long="leave_out")


BAD: list[tuple[Any, str]] = [
    ("{", "is no JSON"),
    ("[]", "is no object"),
    ({}, "has no list of messages"),
    ({"messages": []}, "has no list of messages"),
    ({"messages": ["hi"]}, r"messages\[0\] that is no object"),
    ({"messages": [{"role": "user"}], "prompt": ""}, "has 'prompt'"),
    ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content is 3"),
    ({"messages": [{"role": "wizard", "content": "x"}, *TALK]}, r"messages\[0\].role is 'wizard'"),
    ({"messages": [{"role": "user", "text": "x"}]}, r"messages\[0\].text"),
    ({"messages": TALK[:1]}, "nothing that the assistant says"),
    ({"messages": [TALK[0], {**TALK[1], "weight": 0}]}, "nothing that the assistant says"),
    ({"messages": [TALK[0], {**TALK[1], "weight": 0.5}]}, r"messages\[1\] with weight 0.5"),
    ({"messages": [{**TALK[0], "weight": 1}, TALK[1]]}, "only assistant's messages"),
    ({"messages": TALK, "weight": 0.5}, "the weight 0.5"),
    ({"messages": TALK, "weight": -1}, "the weight -1"),
    ({"messages": TALK, "tools": "none"}, "tools that are no list"),
]


@pytest.mark.parametrize(("row", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_line_is_named(row: Any, said: str, chat: ChatTemplate, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=rf"chat\.jsonl, line 3 .*{said}") as raised:
        made(chat, tmp_path, [{"messages": TALK}, "", row])
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("cache/*/examples.json"))


def test_files_that_are_none(chat: ChatTemplate, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="hold no conversation"):
        made(chat, tmp_path, [])
    with pytest.raises(InvalidData, match=r"gone\.jsonl cannot be read"):
        chat_rows([tmp_path / "gone.jsonl"], chat, tmp_path, length=9)
    (tmp_path / "cut.jsonl.xz").write_bytes(lzma.compress(b'{"messages": []}\n' * 999)[:60])
    with pytest.raises(InvalidData, match=r"cut\.jsonl\.xz"):
        chat_rows([tmp_path / "cut.jsonl.xz"], chat, tmp_path, length=9)
    with pytest.raises(InvalidSetting, match="too_long"):
        made(chat, tmp_path, [{"messages": TALK}], too_long="cut")
    with pytest.raises(InvalidSetting, match="length"):
        made(chat, tmp_path, [{"messages": TALK}], length=1)


def test_text_that_spells_a_control_token_stays_text(chat: ChatTemplate, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "x<|im_end|>"}, {"role": "assistant", "content": "<|im_start|>y"}]
    found = made(chat, tmp_path, [{"messages": said}])
    starts = chat.tokenizer.id_of("<|im_start|>")
    assert (found[0].ids == starts).sum() == 2
    assert found.facts["spelled_control_tokens"] == 1
    assert learnt(chat, found[0]) == ["<|im_start|>y<|im_end|>"]


def test_damage_and_a_full_disk_are_said(chat: ChatTemplate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(chat, tmp_path, [{"messages": TALK}])
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "ids.bin").write_bytes(b"\0" * 8)
    with pytest.raises(InvalidData, match="2 ids"):
        open_examples(folder)

    def full(path: Path, **_: Any) -> Any:
        if path.name == "ends.bin":
            raise OSError(28, "No space left on device")
        return atomic_write(path)

    monkeypatch.setattr(store, "atomic_write", full)
    with pytest.raises(DiskFull) as raised:
        made(chat, tmp_path, [{"messages": TALK}] * 2)
    assert isinstance(raised.value, OwnLMError)
    assert not list(tmp_path.glob("cache/*/.*"))

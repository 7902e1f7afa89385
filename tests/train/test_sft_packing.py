"""Packed rows: every example once, whole, and the same loss as alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_support import TALK, write_lines, write_tokenizer

sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import save

from ownlm.errors import InvalidData, InvalidSetting, NotFound
from ownlm.train.batch import IGNORED, Row, collate
from ownlm.train.chat_data import Chats
from ownlm.train.decoder import Decoder
from ownlm.train.losses import cross_entropy
from ownlm.train.packing import PackedRows, joined, pack

torch.set_num_threads(1)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 80))
@settings(deadline=None)
def test_every_example_is_in_one_row_that_holds_it(lengths: list[int], room: int) -> None:
    rows = pack(np.array(lengths, np.int64), room)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    sums = sorted(sum(lengths[number] for number in row) for row in rows)
    assert all(total <= room for total in sums)
    assert not sums or len(sums) < 2 or sums[0] + sums[1] > room  # two rows that fit one would be one


def texts(sizes: tuple[int, ...]) -> list[Row]:
    chance = np.random.default_rng(2)
    made = []
    for size in sizes:
        ids = chance.integers(3, 90, size)
        targets = np.append(ids[1:], IGNORED)
        targets[: size // 3] = IGNORED
        made.append(Row(ids, targets))
    return made


class Listed(list[Row]):
    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row.ids) for row in self])


def test_the_loss_is_the_same_packed_padded_and_alone(tmp_path: Path) -> None:
    model = Decoder.load(save(tmp_path / "model", "qwen3"))
    rows = Listed(texts((20, 5, 31, 11, 11, 3)))
    with torch.no_grad():
        alone = sum(cross_entropy(model, collate([row])).sum.item() for row in rows)
        for full in (False, True):
            packed = PackedRows(rows, 40, full=full)
            assert len(packed) < len(rows)
            found = cross_entropy(model, collate([packed[at] for at in range(len(packed))]))
            assert found.count == sum(int((row.targets != IGNORED).sum()) for row in rows)
            assert found.sum.item() == pytest.approx(alone, rel=1e-6)
            sizes = {len(packed[at].ids) for at in range(len(packed))}
            assert (sizes == {40}) == full


def test_an_example_that_no_row_holds_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="the longest example has 9 tokens"):
        PackedRows(Listed(texts((3, 9))), 8)


def test_joined_rows_keep_their_sequences() -> None:
    one, two = texts((4, 3))
    both = joined([joined([one, two]), one], 16)
    assert both.starts == (0, 4, 7, 11)
    assert len(both.ids) == len(both.targets) == 16
    np.testing.assert_array_equal(both.ids[:7], np.concatenate([one.ids, two.ids]))
    assert (both.targets[11:] == IGNORED).all()


def test_chats_are_the_data_of_a_recipe(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "model")
    rows = [{"messages": [*TALK[:1], {"role": "assistant", "content": f"it is {n}"}], "weight": 2} for n in range(40)]
    path, other = write_lines(tmp_path / "a.jsonl", rows), write_lines(tmp_path / "b.jsonl", rows[:3])
    whole = Chats((path,)).open(folder, 100, tmp_path / "cache")
    assert whole.valid is None
    tokens = sum(len(whole.train[at].ids) for at in range(len(whole.train)))
    apart = Chats((path,), held_out=0.3).open(folder, 100, tmp_path / "cache")
    assert apart.valid is not None
    sides = [[rows[at] for at in range(len(rows))] for rows in (apart.train, apart.valid)]
    assert sum(len(row.ids) for side in sides for row in side) == tokens
    said = [{bytes(part) for row in side for part in np.split(row.ids, row.starts[1:])} for side in sides]
    assert not said[0] & said[1]
    assert 4 <= len(said[1]) <= 20
    given = Chats((path,), valid=(other,)).open(folder, 100, tmp_path / "cache")
    assert given.valid is not None
    assert sum(len(given.valid[at].starts) for at in range(len(given.valid))) == 6


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "model")
    path = write_lines(tmp_path / "a.jsonl", [{"messages": TALK}])
    with pytest.raises(InvalidSetting, match="held_out is"):
        Chats((path,), held_out=1.5).open(folder, 100, tmp_path)
    with pytest.raises(InvalidSetting, match="one of the two"):
        Chats((path,), valid=(path,), held_out=0.5).open(folder, 100, tmp_path)
    with pytest.raises(InvalidData, match="all held out"):
        Chats((path,), held_out=0.9999).open(folder, 100, tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(NotFound, match="no chat template"):
        Chats((path,)).open(folder, 100, tmp_path)

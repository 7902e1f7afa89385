"""One loss, however its batch is laid out: accumulation, packing, padding. Published because others get it wrong
(huggingface/transformers#34191)."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parent))
import tiny_run  # noqa: E402

from ownlm.train.batch import IGNORED, Row, collate  # noqa: E402
from ownlm.train.decoder import Decoder  # noqa: E402
from ownlm.train.losses import cross_entropy  # noqa: E402
from ownlm.train.packing import PackedRows, pack  # noqa: E402

torch.set_num_threads(1)
LENGTHS = (5, 17, 30, 8, 8, 21, 13, 30)


class Made:
    """Examples of which about half the tokens are to be learnt."""

    lengths = np.array(LENGTHS)

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.rows = []
        for length in LENGTHS:
            ids = rng.integers(3, 300, length)
            learnt = rng.random(length - 1) < 0.5
            self.rows.append(Row(ids, np.append(np.where(learnt, ids[1:], IGNORED), IGNORED)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def padded(row: Row, length: int) -> Row:
    """Filled up with a token that is not learnt from: a sequence of its own, or the tail of the last one."""
    more = length - len(row.ids)
    return Row(np.append(row.ids, np.zeros(more, np.int64)), np.append(row.targets, np.full(more, IGNORED)), row.starts)


def layouts(examples: Made) -> dict[str, list[list[Row]]]:
    """The same examples as parts of a batch, each a list of rows."""
    plain = [examples[index] for index in range(len(examples))]
    rows = PackedRows(examples, 48)
    packed_rows = [rows[index] for index in range(len(rows))]
    return {
        "one by one": [[row] for row in plain],
        "together": [plain],
        "in threes": [list(part) for part in itertools.batched(plain, 3)] if sys.version_info >= (3, 12)
        else [plain[at : at + 3] for at in range(0, 8, 3)],
        "packed": [packed_rows],
        "packed, row by row": [[row] for row in packed_rows],
        "padded": [[padded(row, 32) for row in plain]],
        "packed and padded": [[padded(row, 48) for row in packed_rows]],
        "backwards": [list(reversed(plain))],
    }  # fmt: skip


def test_loss_and_gradients_are_the_same_for_every_layout() -> None:
    found: dict[str, tuple[float, list[Any]]] = {}
    for name, parts in layouts(Made()).items():
        model = Decoder.fresh(tiny_run.CONFIG, 7)
        with torch.no_grad():  # a new model's blocks add nothing yet
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
        total, count = 0.0, 0
        for rows in parts:
            part = cross_entropy(model, collate(rows))
            part.sum.backward()
            total += part.sum.item()
            count += part.count
        found[name] = total / count, [parameter.grad / count for parameter in model.parameters()]
    loss, gradients = found["one by one"]
    assert loss > 4
    for name, (other, others) in found.items():
        assert other == pytest.approx(loss, abs=1e-5), name
        for first, second in zip(gradients, others, strict=True):
            assert torch.allclose(first, second, atol=1e-5), name


def test_a_neighbour_in_a_row_is_not_seen() -> None:
    """The test above fails if attention reaches over a border: changing one example must leave the others' loss."""
    model = Decoder.fresh(tiny_run.CONFIG, 7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.3)
    first, second = Made()[2], Made()[5]
    joined = Row(
        np.concatenate([first.ids, second.ids]), np.concatenate([first.targets, second.targets]), (0, len(first.ids))
    )
    one_sequence = Row(joined.ids, joined.targets)
    apart = sum(cross_entropy(model, collate([row])).sum.item() for row in (first, second))
    assert cross_entropy(model, collate([joined])).sum.item() == pytest.approx(apart, abs=1e-4)
    assert abs(cross_entropy(model, collate([one_sequence])).sum.item() - apart) > 1e-2


@pytest.mark.parametrize("seed", range(5))
def test_every_example_is_packed_once_and_fits(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 60, 500)
    rows = pack(lengths, 64, seed)
    assert sorted(number for row in rows for number in row) == list(range(500))
    assert all(lengths[row].sum() <= 64 for row in rows)
    assert lengths.sum() / (64 * len(rows)) > 0.9

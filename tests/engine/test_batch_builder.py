"""From scheduled requests to arrays, by the drawing in ``model/batch.py``."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.request import Request
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.scheduler import Scheduled


def request(tokens: list[int], blocks: list[int]) -> Request:
    made = Request(0, tokens, SamplingParams(), cast(Any, None), cast(Any, None), limit=99)
    made.table.blocks, made.running = blocks, True
    return made


def test_the_drawing() -> None:
    a, b = request([60, 61, 62, 63, 64, 65, 66], [5, 2]), request([70, 71, 72, 73, 74], [7, 0])
    entries = [Scheduled(a, 6, 1, 0, 0, True), Scheduled(b, 1, 4, 2, 2, True)]
    batch = BatchBuilder(4, 2, 8).build(entries)
    assert batch.ids.tolist() == [66, 71, 72, 73, 74]
    assert batch.positions.tolist() == [6, 1, 2, 3, 4]
    assert batch.cu_seqlens.tolist() == [0, 1, 5]
    assert batch.lengths.tolist() == [7, 5]
    assert batch.block_tables.tolist() == [[5, 2], [7, 0]]
    assert batch.slots.tolist() == [2 * 4 + 2, 7 * 4 + 1, 7 * 4 + 2, 7 * 4 + 3, 0]
    assert batch.rows.tolist() == [0, 2, 3, 4]  # two that score the prompt, then the last


def test_tables_follow_who_comes_and_goes() -> None:
    builder = BatchBuilder(4, 2, 4)
    a, b, c = (request([1] * 9, [block, block + 1, block + 2]) for block in (10, 20, 30))

    def tables(*requests: Request) -> Any:
        return builder.build([Scheduled(each, 8, 1, 0, 0, True) for each in requests]).block_tables.tolist()

    assert tables(a, b) == [[10, 11, 12], [20, 21, 22]]
    a.table.blocks[1], a.table.unchanged = 15, 1
    assert tables(b, a) == [[20, 21, 22], [10, 15, 12]]
    a.running = False
    assert tables(b, c) == [[20, 21, 22], [30, 31, 32]]  # c has the row that was a's
    b.running, a.running = False, True
    assert tables(a, c) == [[10, 15, 12], [30, 31, 32]]
    assert builder.build([]).ids.dtype == np.int32


def test_rows_whose_log_probabilities_are_told_are_exact() -> None:
    a, b = request([60, 61, 62, 63, 64, 65, 66], [5, 2]), request([70, 71, 72, 73, 74], [7, 0])
    builder = BatchBuilder(4, 2, 8)
    assert builder.build([Scheduled(a, 6, 1, 0, 0, 1), Scheduled(b, 1, 4, 0, 0, 1)]).exact is None
    marks = builder.build([Scheduled(a, 6, 1, 0, 0, 1), Scheduled(b, 1, 4, 2, 2, 1)]).exact
    assert marks is not None and marks.tolist() == [0, 1, 1, 0]  # the prompt's, not the one that is drawn from
    a.exact = True
    marks = builder.build([Scheduled(b, 1, 4, 0, 0, 1), Scheduled(a, 4, 3, 0, 0, 2)]).exact
    assert marks is not None and marks.tolist() == [0, 1, 1]

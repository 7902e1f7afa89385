"""From scheduled requests to the arrays of a step.

Block tables change by an entry now and then, so they are kept as arrays, one row a running request, and only what
changed is written again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.cached_text import CachedText
from ownlm.model.batch import Batch, Int32

Entry = tuple[CachedText, int, int, int, int, int]
"""As ``Scheduled``: text, start, size, first_score, scores, samples."""


class BatchBuilder:
    """For at most ``max_running`` requests of ``max_blocks`` blocks each."""

    def __init__(self, block_size: int, max_running: int, max_blocks: int) -> None:
        self._size = block_size
        self._tables = np.zeros((max_running, max_blocks), np.int32)
        self._rows = list(range(max_running - 1, -1, -1))
        self._numbers = np.arange(max_running + 1, dtype=np.int32)
        self._holders: dict[int, CachedText] = {}
        self._facts = np.zeros(4, np.int32)
        ids, positions, slots, lengths = np.split(self._facts, 4)
        starts, wanted = self._numbers[:2], self._numbers[:1]
        self._one = Batch(ids, positions, starts, lengths, self._tables[:1, :0], slots, wanted)
        self._one_table = (-1, 0)
        self._marked = _marked([slice(0, 1)], 1)

    def build(self, entries: Sequence[Entry]) -> Batch:
        """Rows of logits: of each entry in turn, first those that score the prompt, then those it samples from."""
        if len(entries) == 1 and entries[0][2] == entries[0][5] == 1 and not entries[0][4]:
            return self._one_token(*entries[0][:2])
        size = self._size
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        rows: list[int] = []
        told: list[slice] = []  # of rows: log probabilities of these are told, so every logit counts
        offsets, lengths, tables = [0], [], []
        begin = longest = 0
        for request, start, count, first_score, scores, samples in entries:
            table = request.table
            if table.unchanged != len(table.blocks) or request.row < 0:
                self._sync(request)
            end, blocks = start + count, table.blocks
            if count == 1:
                ids.append(request.tokens[start])
                positions.append(start)
                slots.append(blocks[start // size] * size + start % size)
            else:
                ids += request.tokens[start:end]
                if samples > 1:
                    ids += request.drafted
                positions += range(start, end)
                for at in range(start // size, (end - 1) // size + 1):
                    first = blocks[at] * size - at * size
                    slots += range(first + max(start, at * size), first + min(end, (at + 1) * size))
            if scores:
                told.append(slice(len(rows), len(rows) + scores))
                rows += range(begin + first_score - start, begin + first_score - start + scores)
            begin += count
            if samples:
                if request.exact:
                    told.append(slice(len(rows), len(rows) + samples))
                rows += range(begin - samples, begin)
            offsets.append(begin)
            lengths.append(end)
            tables.append(request.row)
            if len(blocks) > longest:
                longest = len(blocks)
        # One array is made and cut: behind a model the caches are cold, and each call costs microseconds.
        count, several = begin, len(tables)
        if count == len(rows) == several:  # one token of each, as nearly always
            known = np.array(ids + positions + slots + lengths, np.int32)
            starts, wanted = self._numbers[: count + 1], self._numbers[:count]
        else:
            known = np.array(ids + positions + slots + lengths + offsets + rows, np.int32)
            starts, wanted = np.split(known[3 * count + several :], [several + 1])
        return Batch(
            ids=known[:count],
            positions=known[count : 2 * count],
            slots=known[2 * count : 3 * count],
            lengths=known[3 * count : 3 * count + several],
            cu_seqlens=starts,
            rows=wanted,
            block_tables=self._table(tables, longest),
            exact=_marked(told, len(rows)) if told else None,
        )

    def _one_token(self, text: CachedText, place: int) -> Batch:
        """The step of one who writes alone: arrays that are there already, and change by four numbers."""
        table, one = text.table, self._one
        blocks = table.blocks
        if table.unchanged != len(blocks) or text.row < 0:
            self._sync(text)
        row, size = text.row, self._size
        if self._one_table != (row, len(blocks)):
            self._one_table = row, len(blocks)
            one.block_tables = self._tables[row : row + 1, : len(blocks)]
        self._facts[:] = text.tokens[place], place, blocks[place // size] * size + place % size, place + 1
        one.exact = self._marked if text.exact else None
        return one

    def _table(self, rows: list[int], longest: int) -> Int32:
        if len(rows) == 1:
            return self._tables[rows[0] : rows[0] + 1, :longest]
        return np.ascontiguousarray(self._tables[rows, :longest])

    def _sync(self, request: CachedText) -> None:
        """Bring a request's row up to date; give it one if it has none."""
        table = request.table
        if request.row < 0:
            if not self._rows:
                self._reclaim()
            request.row = self._rows.pop()
            self._holders[request.row] = request
            table.unchanged = 0
        row = self._tables[request.row]
        row[table.unchanged : len(table.blocks)] = table.blocks[table.unchanged :]
        table.unchanged = len(table.blocks)

    def _reclaim(self) -> None:
        """Rows of requests that run no more can be had again."""
        for row, request in list(self._holders.items()):
            if not request.running:
                del self._holders[row]
                request.row = -1
                self._rows.append(row)


def _marked(told: Sequence[slice], count: int) -> NDArray[np.uint8]:
    marks = np.zeros(count, np.uint8)
    for rows in told:
        marks[rows] = 1
    return marks

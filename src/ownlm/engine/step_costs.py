"""What a step with more rows costs, measured while the engine runs: whether a guess is worth its row."""

from __future__ import annotations

from bisect import bisect_right

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Rows of a step that are measured; between them is interpolated."""
# Against one row, before anything is measured here: Qwen2.5's 0.5B shape, two threads of AVX-512 VNNI.
_FIRST = (1.0, 1.1, 1.2, 1.3, 1.65, 1.95, 2.45, 3.1, 4.4, 5.7, 8.5, 11.3)
_RATE = 0.15
_SURPRISE = 0.5  # a single step moves its cost by at most so much of _RATE: machines are busy with other things too


class StepCosts:
    """Seconds of a step by its rows (tokens whose logits are wanted), against a step of one row.

    >>> costs = StepCosts()
    >>> costs.of(1), costs.of(8), round(costs.of(7), 3)
    (1.0, 1.95, 1.8)
    """

    def __init__(self) -> None:
        self._costs = list(_FIRST)
        self._table: list[float] = []
        self._one = 0.0  # seconds of a step of one row
        self._fill()

    @property
    def seconds(self) -> float:
        """Of a step of one row; 0 until there was a step."""
        return self._one

    def of(self, rows: int) -> float:
        """The cost of so many rows, in steps of one row."""
        return self._table[rows] if rows < len(self._table) else self._costs[-1] * rows / WIDTHS[-1]

    def note(self, rows: int, seconds: float) -> None:
        """A step of so many rows, each of which gave logits, took so long."""
        if rows > WIDTHS[-1]:
            return
        if not self._one:
            self._one = seconds / self.of(rows)
            return
        ratio = seconds / (self._one * self.of(rows)) - 1
        change = 1 + _RATE * min(max(ratio, -_SURPRISE), _SURPRISE)
        if rows == 1:
            self._one *= change
            return
        at = bisect_right(WIDTHS, rows) - 1
        if rows != WIDTHS[at] and at + 1 < len(WIDTHS) and WIDTHS[at + 1] - rows < rows - WIDTHS[at]:
            at += 1
        self._costs[at] = max(1.0, self._costs[at] * change)
        self._fill()

    def _fill(self) -> None:
        table = [1.0, 1.0]
        for low, high, first, last in zip(WIDTHS, WIDTHS[1:], self._costs, self._costs[1:], strict=False):
            table += [first + (last - first) * (rows - low) / (high - low) for rows in range(low + 1, high + 1)]
        self._table = table

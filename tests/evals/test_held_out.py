"""A tenth of the rows measure, the same ones everywhere."""

from __future__ import annotations

import doctest

from ownlm.evals import held_out


def test_a_tenth_measures() -> None:
    chosen = sum(held_out.held_out(f"row {number}") for number in range(10_000))
    assert 900 < chosen < 1100


def test_spaces_around_a_row_change_nothing() -> None:
    assert all(held_out.held_out(f"{n}") == held_out.held_out(f" {n}\n") for n in range(200))


def test_the_example_holds() -> None:
    assert doctest.testmod(held_out).failed == 0

"""Dates that documents give themselves."""

from __future__ import annotations

import pytest

from ownlm.rag.dates import first_date, written
from ownlm.rag.types import Passage


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Minutes of 4 May 2024", "2024-05-04"),
        ("May 4th, 2024", "2024-05-04"),
        ("2024-05-04-minutes", "2024-05-04"),
        ("newsletter-2024-11", "2024-11"),
        ("Autumn term, September 2023", "2023-09"),
        ("prices_2022", "2022"),
        ("45 May 2024", "2024-05"),
        ("2024-19-45", "2024"),
        ("Room 1204", ""),
        ("12024", ""),
        ("", ""),
    ],
)
def test_the_most_exact_date_wins(text: str, date: str) -> None:
    assert first_date(text) == date


def test_the_title_speaks_before_the_name_and_the_heading() -> None:
    def passage(title: str, name: str, *heading: str) -> Passage:
        return Passage(1, name, title, 0, 1, "x", 0.0, heading)

    assert written(passage("Rules 2021", "/2019/rules-2020.md", "2018")) == "2021"
    assert written(passage("Rules", "/2019/rules-2020.md", "2018")) == "2020"
    assert written(passage("Rules", "/2019/rules.md", "From 1 April 2018")) == "2018-04-01"
    assert written(passage("Rules", "/2019/rules.md")) == ""

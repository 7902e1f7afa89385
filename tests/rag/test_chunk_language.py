"""Passages in languages that the encoder does not know."""

from __future__ import annotations

import pytest

from ownlm.rag.chunk_language import foreign_passages, is_foreign

ENGLISH = "The committee met in May, and the roof was discussed. It is to be mended in the autumn."
GERMAN = (
    "Der Ausschuss tagte im Mai und das Dach wurde besprochen. Es wird im Herbst mit dem Geld für den Garten repariert."
)


@pytest.mark.parametrize(
    "text",
    [
        GERMAN,
        "Le comité s'est réuni en mai et la toiture a été discutée. Elle sera réparée avec les fonds pour le jardin.",
        "El comité se reunió en mayo y se habló del tejado. Se reparará en otoño con los fondos para el jardín.",
        "Комитет собрался в мае, обсуждали крышу.",
        "委员会五月开会，讨论了屋顶。",
        "اجتمعت اللجنة في مايو وناقشت السقف.",
    ],
)
def test_foreign(text: str) -> None:
    assert is_foreign(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12.50 | 13.00 | W 3",
        ENGLISH,
        "Day: W | Course: Bowls | Tutor: Von Der Heide | Fee: £35\n" * 9,
        "Item: Crème brûlée | Price: 4.50\nItem: Pâté en croûte | Price: 7.20",
        "import os\nfor el in os.listdir(path):\n    print(el, os.stat(el))\n",
        f"{ENGLISH} The sign says 'Das ist nicht für Hunde'.",
    ],
)
def test_not_foreign(text: str) -> None:
    assert not is_foreign(text)


def test_a_document_that_is_mostly_foreign_is_so_throughout() -> None:
    assert foreign_passages([GERMAN, GERMAN, "Fritz 12"]) == ([True, True, True], 1.0)
    flags, share = foreign_passages([ENGLISH, ENGLISH, ENGLISH, GERMAN])
    assert flags == [False, False, False, True] and 0.2 < share < 0.4
    assert foreign_passages([]) == ([], 0.0)

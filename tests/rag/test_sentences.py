"""Sentences: what ends one, what does not, and that no character is lost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.rag.sentences import paragraphs, sentences


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


@pytest.mark.parametrize(
    "parts",
    [
        ["One is here.", "Two is there."],
        ["Dr. Lee met Mr. J. R. Smith at St. Anne's.", "They talked."],
        ["It costs £3.50 or 1.200,00 EUR.", "That is v2.1.3 of it."],
        ["See Fig. 3 and No. 7 on p. 12.", "Then stop."],
        ["He said no.", "We went on."],
        ['"Stop!" she cried.', "He stopped."],
        ['He wrote "Go."', "Then he left."],
        ["(It was late.)", "They slept."],
        ["Well... perhaps not.", "Fine..."],
        ["Is it true?", "Yes!", "Good."],
        ["Use tools, e.g. a saw, i.e. sharp ones.", "Take care."],
        ["Open from 9 a.m. to 5 p.m. on Mondays.", "Closed on Sundays."],
        ["The shop closes at 5 p.m.", "The door is locked then."],
        ["Acme Inc. makes saws.", "Acme Inc. Europe sells them."],
        ["He lives in the U.S. Army base.", "So it is."],
        ["It was founded in the U.S.", "The founders were two."],
        ["He came . . . and went. . . .", "Then nothing.", "Why? ?", "So."],
        ["Then-St. Louis player.", "Done.[citation needed]", "Yes."],
        ["As shown.[3]", "Later it changed.[12]"],
        ["吾輩は猫である。", "名前はまだ無い。", "「そうか。」", "はい！"],
        ["这是什么？", "这是书。"],
        ["Wann?", "Morgen, d.h. am Dienstag."],
        ["Visit example.com/a.b?c=d for more.", "It is .NET code."],
        ["we returned the deposit.", "please keep the key."],
    ],
)
def test_splits(parts: list[str]) -> None:
    joiner = "" if any("\u3000" < c < "\u9fff" for c in "".join(parts)) else " "
    assert split(joiner.join(parts)) == parts


def test_lines_broken_on_purpose_are_sentences() -> None:
    rows = "Item: Saw | Price: 12.50 | Note: sharp. Use with care\nItem: Nail | Price: 0.10"
    assert split("# Prices\n\n" + rows)[0] == "# Prices"
    assert split(rows)[-1] == "Item: Nail | Price: 0.10"
    assert split("- one thing\n- two things\n1. third\n2. fourth") == [
        "- one thing",
        "- two things",
        "1. third",
        "2. fourth",
    ]
    assert split("Oak House\n12 Mill Lane\nLeeds") == ["Oak House", "12 Mill Lane", "Leeds"]


def test_wrapped_lines_are_one_sentence() -> None:
    text = (
        "The committee met on the third of May in the large hall and agreed that\n"
        "the fee for the workshop is raised from ten to twelve pounds a month from\n"
        "June on. Members were told.\n\nNext paragraph."
    )
    assert split(text) == [
        "The committee met on the third of May in the large hall and agreed that\n"
        "the fee for the workshop is raised from ten to twelve pounds a month from\nJune on.",
        "Members were told.",
        "Next paragraph.",
    ]


def test_list_numbers_stay_with_their_item() -> None:
    assert split("1. Close the valve. 2. Call us.")[0].startswith("1. Close")
    assert split("3.2. Fees are due.") == ["3.2. Fees are due."]


def test_range() -> None:
    text = "First one. Second one. Third one."
    assert [text[a:b] for a, b in sentences(text, 11, 22)] == ["Second one."]
    assert sentences(text, 5, 5) == [] and sentences("") == [] and sentences(" \n\n ") == []


ALPHABET = st.sampled_from(
    [*"aAbZ0 9.。!?…\n\n\t  \"')]|-#1:é漢", " Dr. ", " e.g. ", "\n\n", " | ", "\u00a0", "\u2028"]
)


@given(st.lists(ALPHABET, max_size=80).map("".join), st.integers(0, 40), st.integers(0, 80))
def test_spans_are_ordered_disjoint_and_hold_all_text(text: str, a: int, b: int) -> None:
    start, end = min(a, len(text)), min(max(a, b), len(text))
    for function in (sentences, paragraphs):
        covered = set()
        last = start
        for low, high in function(text, start, end):
            assert last <= low < high <= end
            assert not text[low].isspace() and not text[high - 1].isspace()
            covered.update(range(low, high))
            last = high
        assert all(i in covered or text[i].isspace() for i in range(start, end))


@pytest.mark.parametrize(
    "unit",
    [".", "a. ", "\n", " ", ".)", "a", "a.b", "| ", "A.\n", "\n \n", "[1]", "." * 9 + "a", ". ", ". ? a", ".[a "],
)
def test_time_is_linear(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    begin = time.process_time()
    sentences(text)
    assert time.process_time() - begin < 8

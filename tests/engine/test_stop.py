"""A stop string is found wherever the text is cut into pieces, and no part of it is shown."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.engine.stop import StopStrings

texts = st.text("abc", max_size=30)
stops = st.lists(st.text("abc", min_size=1, max_size=5), max_size=4, unique=True)


def cut(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The definition: the first end of any stop string; of those that end there, the longest."""
    for end in range(1, len(text) + 1):
        here = [stop for stop in stops if text[:end].endswith(stop)]
        if here:
            longest = max(here, key=len)
            return text[: end - len(longest)], longest
    return text, None


@settings(max_examples=1500, deadline=None)
@given(texts, stops, st.lists(st.integers(0, 30)))
def test_any_cut_into_pieces_gives_the_same(text: str, stops: list[str], cuts: list[int]) -> None:
    watch = StopStrings(stops)
    places = sorted({0, len(text), *(at for at in cuts if at < len(text))})
    shown = ""
    expected, found = cut(text, stops)
    for start, end in itertools.pairwise(places):
        shown += watch.push(text[start:end])
        assert expected.startswith(shown), "text was shown that belongs to a stop string"
    shown += watch.finish()
    assert (shown, watch.found) == (expected, found)


@settings(max_examples=300, deadline=None)
@given(texts, stops)
def test_nothing_is_held_back_without_need(text: str, stops: list[str]) -> None:
    watch = StopStrings(stops)
    shown = ""
    for at, character in enumerate(text):
        shown += watch.push(character)
        if watch.found is not None:
            return
        held = text[len(shown) : at + 1]
        assert held == "" or any(stop.startswith(held) for stop in stops)

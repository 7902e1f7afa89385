"""What a text may go on with, from where it went on before: prompt lookup (Saxena 2023, "Prompt Lookup Decoding").

An answer that quotes a document, or changes some code, repeats long stretches of its prompt. The last tokens are
looked up in the text so far, and what followed them there is guessed to follow here:

    tokens   a b c d e f ... x b c d
                     ^ at      \\___/  length 3: guessed are e f ...

Where two tokens were before is kept in a table of the latest place, each place with a link to the one before (as in
LZ77 compressors), so that a token more costs O(1).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

PLACES = 16  # earlier places of the last two tokens that are compared
LONGEST = 32  # tokens of a match that are counted when it is looked for; it may grow beyond
STEADY = 4  # a match of so many tokens goes on behind a token that was another, as in a changed line of code
_SHIFT = 32


class PromptLookup:
    """Follows one text, which the engine appends to. ``length`` tokens before ``at`` are the text's last ones.

    >>> text = [7, 8, 9, 5, 7, 8]
    >>> lookup = PromptLookup(text)
    >>> lookup.follow(), lookup.length, lookup.guess(3)
    ([], 2, [9, 5, 7])
    >>> text.append(9)
    >>> lookup.follow(), lookup.length, lookup.guess(1)
    ([(2, True)], 3, [5])
    >>> text.append(6)
    >>> lookup.follow(), lookup.guess(1)
    ([(3, False)], [])
    """

    __slots__ = ("_before", "_latest", "_seen", "_tokens", "at", "length")

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._seen = len(tokens)
        self.at = -1  # the place whose token is guessed next; -1: none
        self.length = 0
        ids = np.array(tokens, np.int64)
        keys = (ids[:-1] << _SHIFT) | ids[1:]
        order = np.argsort(keys, kind="stable")
        again = keys[order[1:]] == keys[order[:-1]]
        before = np.full(len(tokens) + 1, -1, np.int32)
        before[order[1:][again] + 2] = order[:-1][again] + 2
        self._before = array("i", before.tobytes())  # by place: the place before it with the same two tokens
        self._latest = dict(zip(keys.tolist(), range(2, len(tokens) + 1), strict=True))
        if self._before[-1] > 0:
            self._look(self._before[-1])

    def follow(self) -> list[tuple[int, bool]]:
        """Take in the tokens appended since; for each that was guessed: the length of the match, and whether it hit."""
        tokens, noted = self._tokens, []
        for place in range(self._seen, len(tokens)):
            token, end = tokens[place], place + 1
            if self.at >= 0:
                hit = tokens[self.at] == token
                noted.append((self.length, hit))
                if hit or self.length >= STEADY:
                    self.at += 1
                else:
                    self.at = -1
                self.length = self.length + 1 if hit else 0
            key = tokens[place - 1] << _SHIFT | token
            before = self._latest.get(key, -1)
            self._before.append(before)
            self._latest[key] = end
            if self.length <= 1 and before > 0:
                self._seen = end
                self._look(before)
        self._seen = len(tokens)
        return noted

    def guess(self, count: int) -> list[int]:
        """At most ``count`` tokens that may come next; what goes round in a circle goes on so."""
        if self.at < 0:
            return []
        found = list(self._tokens[self.at : self.at + count])
        period = len(found)
        while len(found) < count:
            found.append(found[len(found) - period])
        return found

    def _look(self, place: int) -> None:
        """Take the longest match at ``place`` and the places linked from it; of equals the latest."""
        tokens, end = self._tokens, self._seen
        self.length = 0
        for _ in range(PLACES):
            length = 2
            while length < LONGEST and length < place and tokens[place - 1 - length] == tokens[end - 1 - length]:
                length += 1
            if length > self.length:
                self.at, self.length = place, length
            place = self._before[place]
            if place < 0 or self.length == LONGEST:
                return

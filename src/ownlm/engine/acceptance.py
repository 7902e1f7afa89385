"""How likely a guess is right, by how long a text was matched before it: learned from every token, drafted or not."""

from __future__ import annotations

from typing import Self

FAR = 16  # longer matches are told apart no more
_RATE = 0.08  # of what was believed, so much is replaced by what is seen
_SHARED_RATE = 0.01
# Where nothing was seen yet: between free text and quotations. Length 0: behind a token that was another.
_FIRST = (0.3, 0.25, 0.25, 0.35, 0.5, 0.6, 0.7, 0.75, 0.8, 0.8, 0.82, 0.84, 0.85, 0.86, 0.86, 0.87, 0.9)


class Acceptance:
    """Chances by length of the match, 0 .. FAR.

    >>> chances = Acceptance()
    >>> before = chances.of(5)
    >>> chances.note(5, True)
    >>> chances.of(5) > before
    True
    """

    __slots__ = ("_chances", "_shared")

    def __init__(self, shared: Self | None = None) -> None:
        """It begins as ``shared``, which learns with it, more slowly."""
        self._shared = shared
        self._chances: list[float] = list(_FIRST if shared is None else shared._chances)

    def of(self, length: int) -> float:
        """The probability that the token guessed after a match of this length is the one that comes."""
        return self._chances[length if length < FAR else FAR]

    def note(self, length: int, hit: bool) -> None:
        """A guess was right or wrong."""
        at = length if length < FAR else FAR
        if self._shared is not None:
            known = self._shared._chances
            known[at] += _SHARED_RATE * (hit - known[at])
        self._chances[at] += _RATE * (hit - self._chances[at])

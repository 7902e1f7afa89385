"""Stop strings in a text that comes in pieces: found wherever the pieces are cut, and never shown in part.

The text ends at the first place where a stop string is complete; of several complete there, the longest counts.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Push pieces, take what is certain. What may be the beginning of a stop string is held back.

    >>> watch = StopStrings(["END"])
    >>> [watch.push(piece) for piece in ("A", "E", "N", "O", "EN", "D!")], watch.found
    (['A', '', '', 'ENO', '', ''], 'END')
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """The text that is certain now; once a stop string is ``found``, nothing more."""
        if not self._stops:
            return text
        if self.found is not None:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            end, start = min(ends)
            self.found, self._held = text[start:end], ""
            return text[:start]
        size = self._beginning(text)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def finish(self) -> str:
        """What was held back: the text is over."""
        text, self._held = self._held, ""
        return text

    def _beginning(self, text: str) -> int:
        """How many of the last characters are the longest beginning of a stop string."""
        for size in range(min(len(text), self._longest - 1), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0

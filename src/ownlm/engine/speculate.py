"""Drafts: tokens that are computed along with the last known one because they may well come next.

The model says at each of them what follows. A draft stands if it is what the sampler takes there, by its own chance
and rules, so an answer is the same with drafts and without; only how many tokens a step brings changes:

    known      ... x          one step computes x d d d d
    drafted          d d d d
    sampled          s s s y  the first three stand (s = d), y is the next token, the fifth row is forgotten

A row more costs time (``StepCosts``), and a draft stands with some probability (``Acceptance``): as many are drafted
as bring the most tokens a second, often none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ownlm.engine.acceptance import Acceptance
from ownlm.engine.lookup import PromptLookup
from ownlm.engine.request import Request
from ownlm.engine.step_costs import StepCosts
from ownlm.errors import InvalidSetting

SPECULATE = ("lookup", "off")
MOST_DRAFTED = 31  # of one request a step
MOST_REQUESTS = 8  # that are answered at a time: with more, a step has work enough for the processor
_UNLIKELY = 0.02
_GAIN = 1.02  # tokens a second against none drafted; below this it is not worth the trouble


class Speculation:
    """What is kept of one request: where its text went on before, and how good such guesses were."""

    __slots__ = ("acceptance", "lookup")

    def __init__(self, tokens: Sequence[int], shared: Acceptance) -> None:
        self.lookup = PromptLookup(tokens)
        self.acceptance = Acceptance(shared)

    def follow(self) -> None:
        """Take in what was generated since."""
        for length, hit in self.lookup.follow():
            self.acceptance.note(length, hit)

    def chances(self, most: int) -> list[float]:
        """For the first draft, the second, ...: how likely it stands, which takes that all before it do."""
        if self.lookup.at < 0:
            return []
        found, chance, length = [], 1.0, self.lookup.length
        for _ in range(most):
            chance *= self.acceptance.of(length)
            if chance < _UNLIKELY:
                break
            found.append(chance)
            length += 1
        return found


class Speculator:
    """Drafts for the requests of one engine. For its thread alone."""

    def __init__(self, costs: StepCosts | None = None) -> None:
        self.costs = costs or StepCosts()
        self._acceptance = Acceptance()

    def draft(self, running: Sequence[Request]) -> None:
        """Give those requests drafts that gain by them, and take the others' away."""
        if len(running) > MOST_REQUESTS:
            return
        chances: list[tuple[float, int, Request]] = []  # less than 0, so that the likeliest are first in order
        for request in running:
            if len(request.tokens) == request.prompt_length:
                return  # a prompt is being computed: the step is full
            if request.speculation is None:
                request.speculation = Speculation(request.tokens, self._acceptance)
            request.speculation.follow()
            most = min(MOST_DRAFTED, request.limit - len(request.tokens) - 1)
            chances += [(-chance, at, request) for at, chance in enumerate(request.speculation.chances(most))]
        if not chances:
            return
        if len(running) > 1:
            chances.sort(key=_likeliest)
        worth = self._worth(len(running), [-chance for chance, _, _ in chances])
        for request, count in Counter([request for _, _, request in chances[:worth]]).items():
            assert request.speculation is not None
            request.drafted = request.speculation.lookup.guess(count)

    def _worth(self, rows: int, chances: Sequence[float]) -> int:
        """How many of these further rows, the likeliest first, bring the most tokens a second."""
        of, tokens = self.costs.of, float(rows)
        best, count = _GAIN * tokens / of(rows), 0
        for more, chance in enumerate(chances, 1):
            tokens += chance
            rate = tokens / of(rows + more)
            if rate > best:
                best, count = rate, more
        return count


def check_speculate(speculate: str) -> None:
    """Raise InvalidSetting for a way to speculate that there is not."""
    if speculate not in SPECULATE:
        raise InvalidSetting("speculate", speculate, f"give one of {', '.join(SPECULATE)}")


def speculator(speculate: str) -> Speculator | None:
    """What drafts for an engine, by the setting's value. Raises InvalidSetting."""
    check_speculate(speculate)
    return Speculator() if speculate == "lookup" else None


def _likeliest(draft: tuple[float, int, Request]) -> float:
    return draft[0]

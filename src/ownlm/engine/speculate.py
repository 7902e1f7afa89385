"""Drafts: tokens that are computed along with the last known one because they may well come next.

The model says at each of them what follows. A draft stands if it is what the sampler takes there, by its own chance
and rules, so an answer is the same with drafts and without; only how many tokens a step brings changes:

    known      ... x          one step computes x d d d d
    drafted          d d d d
    sampled          s s s y  the first three stand (s = d), y is the next token, the fifth row is forgotten

A row more costs time (``StepCosts``), and a draft stands with some probability (``Speculation``): as many are drafted
as bring the most tokens a second, often none.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ownlm.engine.acceptance import Acceptance
from ownlm.engine.draft_model import DraftModel
from ownlm.engine.request import Request
from ownlm.engine.runner import Runner
from ownlm.engine.speculation import Speculation
from ownlm.engine.step_costs import StepCosts
from ownlm.errors import InvalidSetting

_log = logging.getLogger(__name__)
SPECULATE = ("lookup", "off")
MOST_DRAFTED = 31  # of one request a step
MOST_REQUESTS = 8  # that are answered at a time: with more, a step has work enough for the processor
_GAIN = 0.1  # of one request's tokens a second: below this it is not worth the risk


class Offer(NamedTuple):
    """A draft that could be made: how likely it stands, what it costs beside its row (in steps of one row), whose."""

    chance: float
    cost: float
    request: Request


class Speculator:
    """Drafts for the requests of one engine, from their own text (``lookup``) and by a small ``model``.

    For the engine's thread alone, but for ``purge``.
    """

    def __init__(self, costs: StepCosts | None = None, *, lookup: bool = True, model: DraftModel | None = None) -> None:
        self.costs = costs or StepCosts()
        self._acceptance = Acceptance()
        self._lookup = lookup
        self._model = model

    def draft(self, running: Sequence[Request]) -> None:
        """Give those requests drafts that gain by them."""
        if len(running) > MOST_REQUESTS:
            return  # answers fill a step
        offers: list[Offer] = []
        for request in running:
            if len(request.tokens) == request.prompt_length:
                return  # a prompt fills it
            known = request.speculation
            if known is None:
                known = request.speculation = Speculation(request, self._acceptance)
            known.follow(request)
            if self._model is not None or known.lookup.at >= 0:
                offers += self._offers(request, known, len(running))
        if len(running) > 1:
            offers.sort(key=_likeliest, reverse=True)
        if offers or self._model is not None:
            self._make(running, offers[: self._worth(len(running), offers)[1]])

    def purge(self, tag: str) -> None:
        """Keep nothing that was computed from text of ``tag``. From any thread."""
        if self._model is not None:
            self._model.purge(tag)

    def _offers(self, request: Request, known: Speculation, rows: int) -> list[Offer]:
        """What could be drafted, from the source that promises more."""
        most = min(MOST_DRAFTED, request.limit - len(request.tokens) - 1)
        found = [Offer(chance, 0.0, request) for chance in known.by_lookup(most)] if self._lookup else []
        if self._model is None:
            return found
        cost = self._model.seconds / self.costs.seconds if self.costs.seconds else 0.5
        others = [Offer(chance, max(cost, 1e-3), request) for chance in known.by_model(most)]
        return max(found, others, key=lambda offers: self._worth(rows, offers)[0])

    def _worth(self, rows: int, offers: Sequence[Offer]) -> tuple[float, int]:
        """How many of these drafts, the first ones, bring the most tokens a second, and how many tokens that are."""
        of, tokens, extra = self.costs.of, float(rows), 0.0
        best, count = (tokens + _GAIN) / of(rows), 0
        for more, (chance, cost, _) in enumerate(offers, 1):
            tokens += chance
            extra += cost
            rate = tokens / (of(rows + more) + extra)
            if rate > best:
                best, count = rate, more
        return best, count

    def _make(self, running: Sequence[Request], chosen: Sequence[Offer]) -> None:
        """Draft what was chosen."""
        wishes: list[tuple[Request, int]] = []
        for request in running:
            costs = [cost for _, cost, whose in chosen if whose is request]
            assert request.speculation is not None
            if costs and not costs[0]:
                request.drafted = request.speculation.lookup.guess(len(costs))
            elif self._model is not None and (count := request.speculation.asked(request, len(costs))):
                request.drafted.clear()
                wishes.append((request, min(count, request.limit - len(request.tokens) - 1)))
        if self._model is not None:
            self._ask(self._model, running, [wish for wish in wishes if wish[1] > 0])

    def _ask(self, model: DraftModel, running: Sequence[Request], wishes: Sequence[tuple[Request, int]]) -> None:
        """Let the model draft. One that fails is asked no more: answers do not depend on it."""
        try:
            model.retain(running)
            model.draft(wishes)
        except Exception:
            _log.exception("the model that drafts failed; it is not asked any more")
            self._model = None
            for request, _ in wishes:
                request.drafted.clear()


def check_speculate(speculate: str) -> None:
    """Raise InvalidSetting for a way to speculate that there is not."""
    if speculate not in SPECULATE:
        raise InvalidSetting("speculate", speculate, f"give one of {', '.join(SPECULATE)}")


def speculator(speculate: str, runner: Runner | None = None, vocab_size: int = 0) -> Speculator | None:
    """What drafts for an engine whose model has ``vocab_size`` tokens: lookup by the setting's value, and the small
    model that ``runner`` runs. Raises InvalidSetting."""
    check_speculate(speculate)
    if runner is not None:
        return Speculator(lookup=speculate == "lookup", model=DraftModel(runner, vocab_size, MOST_REQUESTS))
    return Speculator() if speculate == "lookup" else None


def _likeliest(offer: Offer) -> float:
    return offer.chance

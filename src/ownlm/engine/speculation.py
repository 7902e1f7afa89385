"""What is kept of one request that is drafted for: where its text went on before, and how good drafts were."""

from __future__ import annotations

from ownlm.engine.acceptance import Acceptance
from ownlm.engine.lookup import PromptLookup
from ownlm.engine.request import Request

_UNLIKELY = 0.02
_RATE = 0.1
_PATIENCE = 16, 512  # steps without a draft of the model until it is tried again: at first, and at most


class Speculation:
    """Chances of drafts by lookup, and by a small model. ``shared``: what other requests taught about lookup."""

    __slots__ = ("_acceptance", "_asked", "_before", "_by_model", "_patience", "_waited", "lookup")

    def __init__(self, request: Request, shared: Acceptance) -> None:
        self.lookup = PromptLookup(request.tokens)
        self._acceptance = Acceptance(shared)
        self._by_model = 0.7
        self._asked = 0  # drafts of the model in the last step
        self._before = (0, 0)  # accepted and rejected before it
        self._waited = 0
        self._patience = _PATIENCE[0]

    def follow(self, request: Request) -> None:
        """Take in what the last step brought."""
        for length, hit in self.lookup.follow():
            self._acceptance.note(length, hit)
        if self._asked:
            stood, fell = request.accepted - self._before[0], request.rejected - self._before[1]
            for hit in [True] * stood + [False] * (fell > 0):
                self._by_model += _RATE * (hit - self._by_model)
            self._asked = 0

    def by_lookup(self, most: int) -> list[float]:
        """For the first draft, the second, ...: how likely it stands, which takes that all before it do."""
        if self.lookup.at < 0:
            return []
        found, chance, length = [], 1.0, self.lookup.length
        for _ in range(most):
            chance *= self._acceptance.of(length)
            if chance < _UNLIKELY:
                break
            found.append(chance)
            length += 1
        return found

    def by_model(self, most: int) -> list[float]:
        """The same for what a small model drafts."""
        found, chance = [], 1.0
        for _ in range(most):
            chance *= self._by_model
            if chance < _UNLIKELY:
                break
            found.append(chance)
        return found

    def asked(self, request: Request, count: int) -> int:
        """The model is to draft so many tokens, in this step; now and then two where it was none, to learn by it."""
        if count:
            self._waited, self._patience = 0, _PATIENCE[0]
        else:
            self._waited += 1
            if self._waited < self._patience:
                return 0
            self._waited, self._patience = 0, min(2 * self._patience, _PATIENCE[1])
            count = 2
        self._asked, self._before = count, (request.accepted, request.rejected)
        return count

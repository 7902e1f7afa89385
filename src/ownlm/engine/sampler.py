"""Logits to tokens, each request by its own rules and its own chance, whatever else is in the batch.

A row goes through penalties, bias, the ends that ``min_tokens`` forbids, and the grammar's mask; then the likeliest
is taken, or one is drawn. Of these steps a row pays for those it asks for: greedy is one ``argmax``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.draw import draw
from ownlm.engine.grammar import Matcher
from ownlm.engine.likeliest import Logits
from ownlm.engine.logprobs import TopLogprobs, token_logprobs
from ownlm.engine.penalties import Occurrences
from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidGrammar, ModelError, OwnLMError

_64_BITS = 2**64 - 1


class Sampled(NamedTuple):
    """A token; its log probability, and (id, log probability) of the likeliest, where asked for.

    With an ``error`` there is no token, and the request ends with that.
    """

    token: int
    logprob: float | None = None
    top: TopLogprobs | None = None
    error: OwnLMError | None = None


class RequestSampling:
    """What sampling keeps of a request: its chance, what was generated, where its grammar stands.

    ``index``: which of several answers to one prompt; equal seeds give different answers for different indices.
    ``ends``: tokens with which the answer ends. Raises InvalidSetting for a token id that the model does not have.
    """

    def __init__(
        self, params: SamplingParams, prompt_ids: Sequence[int], eos_ids: Iterable[int], vocab_size: int, index: int = 0
    ) -> None:
        params.check_ids(vocab_size)
        self.params = params
        self.generated = 0
        self.finished = False
        """Whether the grammar admits nothing more."""
        ends = frozenset(eos_ids)
        # A grammar that is satisfied ends with such a token.
        self.ends = (frozenset() if params.ignore_eos and params.grammar is None else ends) | {*params.stop_token_ids}
        self.matcher: Matcher | None = None if params.grammar is None else params.grammar.matcher()
        entropy = None if params.seed is None else (params.seed & _64_BITS, index)
        self._random = None if params.greedy else np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self._occurrences = Occurrences(prompt_ids) if params.penalizes else None
        self._bias_ids = np.fromiter(params.logit_bias.keys(), np.int64)
        self._biases = np.fromiter(params.logit_bias.values(), np.float32)
        # Where nothing is asked for, the likeliest token is all there is to know of a row.
        self.plain = params.greedy and self.matcher is None and self._occurrences is None and not params.logit_bias
        self.plain = self.plain and not params.min_tokens and params.logprobs is None
        self._end_ids = np.array(sorted(id_ for id_ in self.ends if id_ < vocab_size), np.int64)

    def forced(self, limit: int | None = None) -> list[int]:
        """Tokens that the grammar wants next whatever the logits say, at most ``limit``; they are taken as generated.

        None while log probabilities are asked for: those need logits.
        """
        if self.matcher is None or self.finished or self.params.logprobs is not None:
            return []
        tokens = self.matcher.forced(limit)
        for token in tokens:
            self._count(token)
        self.finished = self.matcher.finished
        return tokens

    def adjusted(self, row: Logits) -> tuple[Logits, NDArray[np.intp] | None]:
        """The logits to choose from, and the tokens they belong to (None: all, in order). ``row`` is not changed.

        Raises InvalidGrammar if the grammar admits no token.
        """
        allowed = None
        banned = self.generated < self.params.min_tokens and len(self._end_ids) > 0
        if self.matcher is not None:
            mask = self.matcher.allowed()
            if banned and mask.sum() > mask[self._end_ids].sum():  # the grammar's end goes before ``min_tokens``
                mask = mask.copy()
                mask[self._end_ids] = False
            allowed = np.flatnonzero(mask)
            if not len(allowed):
                raise self._no_token()
        if self._occurrences is None and not len(self._bias_ids) and (not banned or allowed is not None):
            return (row, None) if allowed is None else (row[allowed], allowed)
        row = row.copy()
        if self._occurrences is not None:
            self._occurrences.penalize(row, self.params)
        row[self._bias_ids] += self._biases
        if allowed is not None:
            return row[allowed], allowed
        if banned:
            row[self._end_ids] = -np.inf
        return row, None

    def choose(self, logits: Logits) -> int:
        """The position of the token taken among these logits."""
        best = int(logits.argmax())
        value = float(logits[best])
        if not isfinite(value):
            raise ModelError(f"the model's logits are not numbers ({value}): its weights are damaged, or too large")
        if self._random is None or len(logits) == 1:
            return best
        return draw(logits, self.params, self._random.random())

    def advance(self, token: int) -> None:
        """The answer goes on with this token. Raises InvalidGrammar if the grammar does not admit it."""
        self._count(token)
        if self.matcher is not None:
            if not self.matcher.accept(token):
                raise self._no_token()
            self.finished = self.matcher.finished

    def _count(self, token: int) -> None:
        self.generated += 1
        if self._occurrences is not None:
            self._occurrences.add(token)

    def _no_token(self) -> InvalidGrammar:
        assert self.matcher is not None and self.params.grammar is not None
        grammar = self.params.grammar.grammar
        problem = self.matcher.error or "no token of the model goes on with it"
        return InvalidGrammar(grammar.kind, grammar.source, problem)


class Sampler:
    """Chooses a token for each row of logits."""

    def sample(self, logits: NDArray[np.float32], states: Sequence[RequestSampling]) -> list[Sampled]:
        """A token for each row of ``logits`` [requests, vocabulary], which is not changed; the states go on with it."""
        return [self._one(row, state) for row, state in zip(logits, states, strict=True)]

    def _one(self, row: Logits, state: RequestSampling) -> Sampled:
        try:
            if state.plain:
                token = state.choose(row)
                state.generated += 1
                return Sampled(token)
            choices, ids = state.adjusted(row)
            place = state.choose(choices)
            token = place if ids is None else int(ids[place])
            state.advance(token)
        except OwnLMError as error:
            return Sampled(-1, error=error)
        if state.params.logprobs is None:
            return Sampled(token)
        logprob, top = token_logprobs(row, token, state.params.logprobs)
        return Sampled(token, logprob, top)

"""What a request asks of sampling, checked once, so that nothing after this has to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from ownlm.errors import InvalidSetting

if TYPE_CHECKING:
    from ownlm.engine.grammar import CompiledGrammar

BIAS = 100.0  # as large as a logit bias gets: -100 all but bans a token, 100 all but forces it
PENALTY = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Which token follows which, and when to stop. Raises InvalidSetting for a value outside what a field admits.

    ``max_tokens``: at most so many are generated; None: as many as the context has room for.
    ``temperature``: 0 takes the likeliest token. ``top_k``: of so many tokens, 0 of all. ``top_p``: of the fewest
    tokens that have this probability together (Holtzman et al. 2020). ``min_p``: of those at least this fraction as
    likely as the likeliest (Nguyen et al. 2024). In this order, after the temperature, as transformers does it.
    ``repetition_penalty`` (Keskar et al. 2019; prompt and answer) divides positive logits, multiplies negative ones.
    ``presence_penalty`` and ``frequency_penalty`` (the answer alone, as in OpenAI's API) are subtracted.
    ``logit_bias``: added, by token id. ``seed``: equal seeds give equal tokens, whatever else runs.
    ``logprobs``: also report each token's log probability, and of so many likeliest; they are the model's own, before
    all of the above. ``prompt_logprobs``: the same for the prompt's tokens.
    ``stop``: texts that end the answer and are left out of it. ``stop_token_ids``: tokens that do so.
    ``ignore_eos``: the model's end-of-text tokens are tokens like others. ``min_tokens``: it may end only after these.
    ``grammar``: what the text must match, to the last token.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    grammar: CompiledGrammar | None = None
    min_tokens: int = 0

    def __post_init__(self) -> None:
        count, number = self._count, self._number
        count("max_tokens", "give a whole number of tokens, 0 or more", optional=True)
        count("min_tokens", "give a whole number of tokens, 0 or more")
        count("top_k", "give a number of tokens, 0 for all")
        count("logprobs", "give how many likeliest tokens to report, 0 for the chosen one alone", optional=True)
        count("prompt_logprobs", "give how many likeliest tokens to report, 0 for the prompt's alone", optional=True)
        number("temperature", 0.0, math.inf, "give a number from 0 (the likeliest token) up, such as 0.7")
        number("top_p", 0.0, 1.0, "give a probability above 0, at most 1 (all tokens)", above=True)
        number("min_p", 0.0, 1.0, "give a fraction from 0 (all tokens) to 1")
        number("repetition_penalty", 0.0, math.inf, "give a factor above 0, 1 for none", above=True)
        number("presence_penalty", -PENALTY, PENALTY, "give a number from -2 to 2, 0 for none")
        number("frequency_penalty", -PENALTY, PENALTY, "give a number from -2 to 2, 0 for none")
        if self.seed is not None and (not _whole(self.seed) or not -(2**63) <= self.seed < 2**64):
            raise InvalidSetting("seed", self.seed, "give a whole number of at most 64 bits")
        if not isinstance(self.ignore_eos, bool):
            raise InvalidSetting("ignore_eos", self.ignore_eos, "give true or false")
        self._check_bias()
        self._check_stops()
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidSetting("min_tokens", self.min_tokens, f"give at most max_tokens, which is {self.max_tokens}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, by no chance."""
        return self.temperature == 0 or self.top_k == 1

    @property
    def every_logit(self) -> bool:
        """Whether logits count that are far from the largest: they are told, or what leads may be forbidden."""
        return self.logprobs is not None or self.grammar is not None or bool(self.logit_bias) or self.penalizes

    @property
    def penalizes(self) -> bool:
        """Whether it matters which tokens were there before."""
        return bool(self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty)

    def check_ids(self, vocab_size: int) -> None:
        """Raise InvalidSetting for a token id that the model does not have."""
        for name, ids in (("logit_bias", self.logit_bias), ("stop_token_ids", self.stop_token_ids)):
            for id_ in ids:
                if id_ >= vocab_size:
                    raise InvalidSetting(name, id_, f"give token ids below {vocab_size}, the size of the vocabulary")
        for name in ("logprobs", "prompt_logprobs"):
            if (getattr(self, name) or 0) > vocab_size:
                raise InvalidSetting(name, getattr(self, name), f"there are {vocab_size} tokens in all")

    def _count(self, name: str, remedy: str, *, optional: bool = False) -> None:
        value = getattr(self, name)
        if value is None and optional:
            return
        if not _whole(value) or not 0 <= value < 2**31:
            raise InvalidSetting(name, value, remedy)

    def _number(self, name: str, low: float, high: float, remedy: str, *, above: bool = False) -> None:
        value = getattr(self, name)
        if not _real(value) or not low <= value <= high or (above and value == low) or math.isinf(value):
            raise InvalidSetting(name, value, remedy)
        object.__setattr__(self, name, float(value))

    def _check_bias(self) -> None:
        if not isinstance(self.logit_bias, Mapping):
            raise InvalidSetting("logit_bias", self.logit_bias, "give a number for each of some token ids")
        for id_, value in self.logit_bias.items():
            if not _whole(id_) or id_ < 0:
                raise InvalidSetting("logit_bias", id_, "its keys are token ids, whole numbers from 0")
            if not _real(value) or not -BIAS <= value <= BIAS:
                raise InvalidSetting(f"logit_bias[{id_}]", value, "give a number from -100 to 100")
        biases = {int(id_): float(value) for id_, value in self.logit_bias.items()}
        object.__setattr__(self, "logit_bias", MappingProxyType(biases))

    def _check_stops(self) -> None:
        stops = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stops, Sequence) or not all(isinstance(stop, str) and stop for stop in stops):
            raise InvalidSetting("stop", self.stop, "give texts of at least one character")
        object.__setattr__(self, "stop", tuple(dict.fromkeys(stops)))
        ids = self.stop_token_ids
        if not isinstance(ids, Sequence) or not all(_whole(id_) and id_ >= 0 for id_ in ids):
            raise InvalidSetting("stop_token_ids", ids, "give token ids, whole numbers from 0")
        object.__setattr__(self, "stop_token_ids", tuple(dict.fromkeys(ids)))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)

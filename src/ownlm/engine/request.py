"""One request on its way through the engine, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from ownlm.engine.block_table import Owner
from ownlm.engine.cached_text import CachedText
from ownlm.engine.prefix_cache import Reuse

if TYPE_CHECKING:
    from ownlm.engine.handle import Outbox
    from ownlm.engine.sampler import RequestSampling
    from ownlm.engine.sampling_params import SamplingParams
    from ownlm.engine.speculation import Speculation

FinishReason = Literal["stop", "length", "cancelled"]
Logprob = tuple[float, list[tuple[int, float]]]
"""A token's log probability, and the likeliest tokens with theirs."""


class TokenOut(NamedTuple):
    """A generated token. The last one of a request says why it is the last; the token that ended it is given too."""

    token: int
    logprob: float | None
    top: list[tuple[int, float]]
    finish_reason: FinishReason | None
    cached_tokens: int


class Request(CachedText):
    """Known tokens (the prompt, then what was generated), and how many of them the cache holds (``computed``).

    There are no phases: a request whose prompt is not computed yet and one that misses its last token alone differ in
    the size of ``missing``, and in nothing else.
    """

    __slots__ = (
        "admitted", "arrival", "cached_tokens", "done", "followers", "leader", "limit", "on_disk", "outbox", "params",
        "priority", "prompt_length", "prompt_logprobs", "request_id", "reuse", "sampling", "score_top", "speculation",
    )  # fmt: skip

    def __init__(
        self,
        request_id: int,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        sampling: RequestSampling,
        outbox: Outbox,
        *,
        limit: int,
        priority: int = 0,
        owners: Iterable[Owner] = (),
    ) -> None:
        super().__init__(prompt_ids, owners)
        self.exact = params.every_logit
        self.request_id = request_id
        self.params = params
        self.sampling = sampling
        self.outbox = outbox
        self.priority = priority
        self.arrival = request_id
        self.prompt_length = len(self.tokens)
        self.limit = limit  # at most so many tokens, prompt and answer
        self.speculation: Speculation | None = None
        self.cached_tokens = 0  # of the prompt, found in the cache when it first ran
        self.on_disk = range(0)  # those of its tokens that were read from disk
        self.reuse = Reuse()  # final when it first runs
        self.admitted = False  # it has run before
        self.done = False
        self.followers: list[Request] = []  # other answers to the same prompt: they fork when it is computed
        self.leader: Request | None = None  # whose follower this is, until it forks
        self.score_top: int | None = params.prompt_logprobs  # how many likeliest tokens to keep for each prompt token
        self.prompt_logprobs: list[Logprob | None] = [None]  # of tokens 0, 1, ...: nothing predicts the first

    @property
    def scoring(self) -> bool:
        """Whether log probabilities of prompt tokens are still to be found."""
        return self.score_top is not None and len(self.prompt_logprobs) < self.prompt_length

    @property
    def reusable(self) -> int:
        """How many tokens may come from the cache: the last one's logits are needed, and those that are scored."""
        return min(len(self.tokens) - 1, len(self.prompt_logprobs) - 1) if self.scoring else len(self.tokens) - 1

    @property
    def order(self) -> tuple[int, int]:
        """Who comes first: the higher priority, then the earlier arrival."""
        return (-self.priority, self.arrival)

"""What a model makes of texts: how likely a continuation is, and continuations that it draws."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ownlm.errors import InvalidSetting
from ownlm.rag.generate.generator import prompt_ids

if TYPE_CHECKING:
    from ownlm.engine.generation import Generation, Output
    from ownlm.engine.llm import LLM
    from ownlm.engine.sampling_params import SamplingParams

_TOGETHER = 256  # texts that are with the engine at a time


@dataclass(frozen=True, slots=True)
class Sampling:
    """``count`` continuations of each prompt, of at most ``tokens`` tokens, drawn at ``temperature`` from ``seed``."""

    count: int = 4
    tokens: int = 32
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "tokens"):
            if getattr(self, name) < 1:
                raise InvalidSetting(name, getattr(self, name), "give 1 or more")


def logprobs(llm: LLM, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """ln p(continuation | context) of (context, continuation), summed over the continuation's tokens.

    Both are tokenized as one text; tokens that both texts begin with are the context's. Raises InvalidSetting for a
    context that the continuation does not lengthen.
    """
    from ownlm.engine.sampling_params import SamplingParams

    starts: list[int] = []

    def prompts() -> Iterator[list[int]]:
        for context, continuation in pairs:
            ids, alone = llm.encode(context + continuation), llm.encode(context)
            common = next((at for at, (a, b) in enumerate(zip(ids, alone, strict=False)) if a != b), len(alone))
            if not 0 < common < len(ids):
                raise InvalidSetting("continuation", continuation, f"it adds no token to {context!r}")
            starts.append(common)
            yield ids

    found = []
    params = SamplingParams(max_tokens=0, temperature=0, prompt_logprobs=0)
    for at, output in enumerate(_outputs(llm, prompts(), lambda number: params)):
        known = output.prompt_logprobs or []
        found.append(math.fsum(each[0] for each in known[starts[at] :] if each is not None))
    return found


def continuations(llm: LLM, prompts: Sequence[str], sampling: Sampling) -> list[tuple[int, str]]:
    """(index of the prompt, what the model went on to write), ``sampling.count`` of each, prompt by prompt.

    Prompts are plain text that goes on: no chat template stands between. The same seed draws the same texts.
    """
    from ownlm.engine.sampling_params import SamplingParams

    def params(number: int) -> SamplingParams:
        seed = sampling.seed * 1_000_003 + number
        return SamplingParams(max_tokens=sampling.tokens, temperature=sampling.temperature, seed=seed)

    ids = (each for prompt in prompts for each in [llm.encode(prompt)] * sampling.count)
    return [(at // sampling.count, output.text) for at, output in enumerate(_outputs(llm, ids, params))]


def answers(llm: LLM, conversations: Iterable[list[dict[str, str]]], tokens: int) -> Iterator[str]:
    """The likeliest answer to each, of at most so many tokens."""
    from ownlm.engine.sampling_params import SamplingParams

    params = SamplingParams(max_tokens=tokens, temperature=0)
    ids = (prompt_ids(llm, messages) for messages in conversations)
    return (output.text for output in _outputs(llm, ids, lambda number: params))


def likeliest(llm: LLM, prompts: Iterable[list[int]], tokens: int) -> Iterator[list[int]]:
    """The ids that the model takes for likeliest after each prompt, at most so many."""
    from ownlm.engine.sampling_params import SamplingParams

    params = SamplingParams(max_tokens=tokens, temperature=0)
    return (output.token_ids for output in _outputs(llm, prompts, lambda number: params))


def _outputs(llm: LLM, prompts: Iterable[list[int]], params: Callable[[int], SamplingParams]) -> Iterator[Output]:
    """In order. Raises PromptTooLong for a context that has no room: no prompt here is long."""
    waiting: deque[Generation] = deque()
    for number, ids in enumerate(prompts):
        waiting.append(llm.start(ids, params(number))[0])
        if len(waiting) >= _TOGETHER:
            yield waiting.popleft().output()
    while waiting:
        yield waiting.popleft().output()

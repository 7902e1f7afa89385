"""Random requests, engines and models, answered with drafts and without."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from engine_fakes import VOCABULARY, FakeRunner, ShortMemoryRunner
from engine_harness import Script, eventually, running
from ownlm.engine.request import Request, TokenOut
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.speculate import Speculator
from ownlm.engine.step_costs import StepCosts

Answers = list[tuple[list[TokenOut], str | None]]


class Cheap(StepCosts):
    """Rows cost nearly nothing, whatever is measured: all that may come is drafted."""

    def of(self, rows: int) -> float:
        return 1 + rows / 1000

    def note(self, rows: int, seconds: float) -> None: ...


class Prophet(Speculator):
    """Drafts what came in another run, with ``wrong`` of the tokens exchanged."""

    def __init__(self, answers: Answers, wrong: float, seed: int) -> None:
        super().__init__(Cheap())
        self._answers = [[out.token for out in outs] for outs, _ in answers]
        self._wrong, self._chance = wrong, random.Random(seed)

    def draft(self, running: Sequence[Request]) -> None:
        for request in running:
            said = len(request.tokens) - request.prompt_length
            if said:
                coming = self._answers[request.request_id - 1][said : said + self._chance.randint(0, 9)]
                request.drafted = [
                    self._chance.randrange(VOCABULARY) if self._chance.random() < self._wrong else token
                    for token in coming
                ][: request.limit - len(request.tokens) - 1]


def random_params(chance: random.Random) -> SamplingParams:
    """Any mixture of what a request can ask for."""
    asked: dict[str, Any] = {"max_tokens": chance.randint(1, 24), "temperature": chance.choice([0.0, 0.0, 0.5, 1.0])}
    asked["seed"] = chance.randrange(1 << 32)
    some: dict[str, Any] = {
        "top_k": 5, "top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.3, "presence_penalty": 0.5,
        "frequency_penalty": -0.4, "logprobs": chance.randint(0, 3), "ignore_eos": True,
        "logit_bias": {chance.randrange(VOCABULARY): chance.uniform(-9, 9) for _ in range(3)},
        "stop_token_ids": [chance.randrange(VOCABULARY) for _ in range(2)], "min_tokens": 1, "prompt_logprobs": 1,
    }  # fmt: skip
    asked |= {name: value for name, value in some.items() if chance.random() < 0.15}
    if chance.random() < 0.15:
        asked["grammar"] = Script(
            [
                chance.randrange(VOCABULARY) if chance.random() < 0.5 else tuple(chance.sample(range(VOCABULARY), 40))
                for _ in range(chance.randint(1, 20))
            ]
        )
    return SamplingParams(**asked)


class Case:
    """Some requests, an engine to answer them, and a model: all from one seed."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        pattern = [chance.randrange(VOCABULARY) for _ in range(chance.randint(2, 9))]
        self.groups = []
        for _ in range(chance.randint(1, 5)):
            prompt = (pattern * 4)[: chance.randint(1, 30)] + [chance.randrange(VOCABULARY)] * chance.randint(0, 2)
            params = random_params(chance)
            self.groups.append((prompt, [params] * chance.choice([1, 1, 1, 3])))
        self.runner = chance.choice([FakeRunner, ShortMemoryRunner, ShortMemoryRunner])
        self.block_size = chance.choice([1, 2, 4, 16])
        self.blocks = -(-chance.choice([64, 80, 400]) // self.block_size)
        self.options = {"max_running": chance.randint(1, 6), "step_tokens": chance.choice([6, 16, 512])}
        self.options["step_tokens_shared"] = chance.choice([6, 64])

    def answers(self, drafts: Speculator | None) -> Answers:
        runner = self.runner(blocks=self.blocks, block_size=self.block_size)
        with running(runner, eos_ids=[3], speculator=drafts, **self.options) as engine:
            handles = [handle for prompt, params in self.groups for handle in engine.submit_many(prompt, params)]
            found: Answers = []
            for handle in handles:
                outs = [out._replace(cached_tokens=0) for out in handle]
                found.append((outs, handle.finish_reason))
            accepted = sum(handle.accepted_tokens for handle in handles)
            drafted = accepted + sum(handle.rejected_tokens for handle in handles)
            # Counted when the last token is out already.
            assert eventually(lambda: engine.stats().counters.drafted_tokens == drafted)
            self.counters = engine.stats().counters
            assert self.counters.accepted_tokens == accepted and not self.counters.failed
        return found

"""Each request by its own rules: penalties, bias, seeds, ends, log probabilities, whatever is beside it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm.engine.sampler import RequestSampling, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidSetting, ModelError

V = 50


def state(
    prompt: list[int] | None = None, index: int = 0, eos: tuple[int, ...] = (2,), **fields: Any
) -> RequestSampling:
    return RequestSampling(SamplingParams(**fields), prompt or [1], eos, V, index)


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, (count, V)).astype(np.float32)


def tokens(request: RequestSampling, logits: NDArray[np.float32]) -> list[int]:
    return [Sampler().sample(row[None], [request])[0].token for row in logits]


def test_greedy_is_the_first_of_the_largest() -> None:
    row = np.zeros((1, V), np.float32)
    row[0, [7, 9]] = 1
    assert Sampler().sample(row, [state(temperature=0)])[0].token == 7
    assert Sampler().sample(row, [state(top_k=1)])[0].token == 7


def test_equal_seeds_give_equal_tokens_whatever_the_batch() -> None:
    logits = rows(20)
    alone = tokens(state(seed=5), logits)
    others = [state(seed=seed, temperature=2.0, presence_penalty=1.0) for seed in range(4)]
    mixed: list[int] = []
    request = state(seed=5)
    for step, row in enumerate(logits):
        count = step % 4
        batch = np.vstack([rows(count, step), row[None], rows(1, step)])
        states = [*others[:count], request, others[3]]
        mixed.append(Sampler().sample(batch, states)[count].token)
    assert mixed == alone
    assert tokens(state(seed=6), logits) != alone
    assert tokens(state(seed=5, index=1), logits) != alone


def test_seeds_may_be_negative_and_large_and_are_told_apart() -> None:
    logits = rows(30)
    found = [tuple(tokens(state(seed=seed), logits)) for seed in (-1, 0, 1, 2**63, 2**64 - 2)]
    assert len(set(found)) == len(found)


def test_without_a_seed_every_request_has_its_own_chance() -> None:
    logits = rows(30)
    assert tokens(state(), logits) != tokens(state(), logits)


def test_of_two_tokens_both_are_drawn() -> None:
    requests = [RequestSampling(SamplingParams(seed=seed), [0], (), 2) for seed in range(30)]
    found = [sampled.token for sampled in Sampler().sample(np.zeros((30, 2), np.float32), requests)]
    assert 5 < sum(found) < 25


def test_penalties_are_those_of_transformers_and_of_openai() -> None:
    import torch
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    prompt, answer = [3, 4, 3, 5], [5, 6, 6, 6]
    request = state(prompt, repetition_penalty=1.3)
    for token in answer:
        request.advance(token)
    for row in rows(20):
        ids, logits = torch.tensor([prompt + answer]), torch.from_numpy(row[None].copy())
        theirs = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits)
        np.testing.assert_allclose(request.adjusted(row)[0], theirs[0].numpy(), rtol=1e-6)

    row = rows(1)[0]
    request = state(prompt, presence_penalty=0.5, frequency_penalty=0.25)
    for token in answer:
        request.advance(token)
    expected = row.copy()
    expected[5] -= 0.5 + 0.25
    expected[6] -= 0.5 + 3 * 0.25
    np.testing.assert_allclose(request.adjusted(row)[0], expected, rtol=1e-6)


def test_occurrences_grow_beyond_what_was_made_room_for() -> None:
    request = RequestSampling(SamplingParams(frequency_penalty=1.0), [0], (), 5000)
    for token in range(5000):
        request.advance(token)
        request.advance(4999 - token)
    assert (request.adjusted(np.zeros(5000, np.float32))[0] == -2).all()


def test_bias_is_added() -> None:
    row = rows(1)
    worst = int(row[0].argmin())
    assert tokens(state(temperature=0, logit_bias={worst: 100}), row) == [worst]
    best = int(row[0].argmax())
    assert tokens(state(temperature=0, logit_bias={best: -100}), row) != [best]
    with pytest.raises(InvalidSetting, match="50"):
        state(logit_bias={V: 1.0})


def test_no_end_before_min_tokens() -> None:
    row = np.zeros((1, V), np.float32)
    row[0, [2, 8]] = 50, 40
    request = state(temperature=0, min_tokens=2, stop_token_ids=[8])
    row[0, 3] = 30
    assert tokens(request, np.repeat(row, 3, axis=0)) == [3, 3, 2]
    assert request.ends == {2, 8}
    assert state(ignore_eos=True, stop_token_ids=[8]).ends == {8}


def test_logprobs_are_the_models_own() -> None:
    import torch

    logits = rows(3)
    request = state(logprobs=4, temperature=0.3, logit_bias={3: 20}, presence_penalty=2.0, seed=1)
    expected = torch.log_softmax(torch.from_numpy(logits).double(), -1).numpy()
    for row, log in zip(logits, expected, strict=True):
        sampled = Sampler().sample(row[None], [request])[0]
        assert sampled.logprob == pytest.approx(log[sampled.token], abs=1e-5)
        best = np.argsort(-row, kind="stable")[:4]
        assert [id_ for id_, _ in sampled.top] == best.tolist()
        assert [value for _, value in sampled.top] == pytest.approx(log[best].tolist(), abs=1e-5)
    assert Sampler().sample(logits[:1], [state()])[0].logprob is None
    assert Sampler().sample(logits[:1], [state(logprobs=0)])[0].top == []


def test_logits_are_not_changed() -> None:
    logits = rows(2)
    before = logits.copy()
    logits.flags.writeable = False
    fields: dict[str, Any] = {"presence_penalty": 1.0, "logit_bias": {1: 3.0}, "min_tokens": 3, "logprobs": 2}
    Sampler().sample(logits, [state(**fields, top_p=0.5), state(**fields, temperature=0)])
    assert (logits == before).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_end_their_request_alone(value: float) -> None:
    logits = rows(3)
    logits[1, :] = value
    logits[1, 3] = value
    found = Sampler().sample(logits, [state(seed=1), state(seed=1), state(seed=1)])
    assert isinstance(found[1].error, ModelError)
    assert found[0].error is None and found[2].error is None and found[2].token >= 0


def test_greedy_costs_little_at_a_large_vocabulary() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 152_000)).astype(np.float32)
    request = RequestSampling(SamplingParams(temperature=0), [1], (2,), 152_000)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        Sampler().sample(logits, [request])
        took.append(time.perf_counter() - start)
    assert min(took) < 0.3e-3

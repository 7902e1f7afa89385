"""Tokens are drawn with exactly the probabilities that temperature, top-k, top-p and min-p leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chances import chi_square, exact
from ownlm.engine import draw as drawing
from ownlm.engine.draw import draw
from ownlm.engine.likeliest import likeliest
from ownlm.engine.sampling_params import SamplingParams

SETTINGS: list[dict[str, Any]] = [
    {}, {"temperature": 0.5}, {"temperature": 3.0}, {"top_k": 5}, {"top_p": 0.6}, {"min_p": 0.2},
    {"top_k": 12, "top_p": 0.8}, {"top_p": 0.9, "min_p": 0.1, "temperature": 1.7},
    {"top_k": 9, "top_p": 0.95, "min_p": 0.15, "temperature": 0.8},
]  # fmt: skip


def counts_of(logits: np.ndarray[Any, Any], params: SamplingParams, draws: int = 10_000) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(7)
    return np.bincount([draw(logits, params, random.random()) for _ in range(draws)], minlength=len(logits))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("given_settings", SETTINGS, ids=str)
def test_frequencies_are_the_exact_probabilities(
    given_settings: dict[str, Any], wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wide:  # as in a large vocabulary whose probability is spread
        monkeypatch.setattr(drawing, "_FEW", 2)
        monkeypatch.setattr(drawing, "_BLOCK", 8)
    logits = np.random.default_rng(1).normal(0, 1.5, 30).astype(np.float32)
    params = SamplingParams(**given_settings)
    assert chi_square(counts_of(logits, params), exact(logits, params)) > 1e-3


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [({"temperature": 1.0}, {"temperature": 1.1}), ({"top_p": 0.9}, {"top_p": 0.85}), ({"top_k": 8}, {"top_k": 7})],
)
def test_the_test_sees_a_small_fault(asked: dict[str, Any], drawn: dict[str, Any]) -> None:
    logits = np.random.default_rng(1).normal(0, 1.5, 30).astype(np.float32)
    counts = counts_of(logits, SamplingParams(**drawn))
    assert chi_square(counts, exact(logits, SamplingParams(**asked))) < 1e-6


rows = st.lists(st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 2.5]), min_size=1, max_size=400)


@settings(max_examples=150, deadline=None)
@given(
    rows, st.integers(0, 12), st.floats(0.01, 1.0), st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    st.floats(0.0, 1.0, exclude_max=True), st.sampled_from([2, 512]),
)  # fmt: skip
def test_only_kept_tokens_are_drawn_ties_included(
    row: list[float], top_k: int, top_p: float, min_p: float, uniform: float, few: int
) -> None:
    logits = np.array(row, np.float32)
    params = SamplingParams(top_k=top_k, top_p=top_p, min_p=min_p)
    before, drawing._FEW = drawing._FEW, few
    try:
        tokens = [draw(logits, params, at) for at in (uniform, 1 - 2**-53)]
    finally:
        drawing._FEW = before
    probabilities = exact(logits, params)
    edge = np.isclose(np.cumsum(np.sort(probabilities)[::-1]), top_p).any()  # where rounding decides
    assert (probabilities[tokens] > 0).all() or edge or top_p == 1


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(0, 500))
def test_likeliest_is_the_beginning_of_a_stable_sort(row: list[float], count: int) -> None:
    logits = np.array(row, np.float32)
    assert likeliest(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


@pytest.mark.parametrize("count", [1, 5, 50, 1000, 30_000])
def test_likeliest_of_a_large_vocabulary(count: int) -> None:
    logits = np.random.default_rng(count).normal(0, 3, 152_000).round(2).astype(np.float32)
    assert likeliest(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


@pytest.mark.parametrize("given_settings", SETTINGS, ids=str)
def test_kept_tokens_are_those_that_transformers_keeps(given_settings: dict[str, Any]) -> None:
    import torch
    from transformers.generation import logits_process as processors

    params = SamplingParams(**given_settings)
    steps = processors.LogitsProcessorList()
    steps.append(processors.TemperatureLogitsWarper(params.temperature))
    if params.top_k:
        steps.append(processors.TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        steps.append(processors.TopPLogitsWarper(params.top_p))
    if params.min_p:
        steps.append(processors.MinPLogitsWarper(params.min_p))
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(0, 2, 3000).astype(np.float32)
        theirs = steps(torch.zeros(1, 1, dtype=torch.long), torch.from_numpy(logits[None].copy()))
        expected = torch.softmax(theirs[0].double(), -1).numpy()
        np.testing.assert_allclose(exact(logits, params), expected, atol=1e-6)
        drawn = {draw(logits, params, uniform) for uniform in np.linspace(0, 1, 50, endpoint=False)}
        assert (expected[list(drawn)] > 0).all()


@pytest.mark.parametrize("given_settings", SETTINGS, ids=str)
def test_a_large_vocabulary_is_drawn_at_the_right_quantile(given_settings: dict[str, Any]) -> None:
    """With all tokens kept in order of id or of probability, the token drawn covers the uniform number."""
    logits = np.random.default_rng(3).normal(0, 2, 152_001).astype(np.float32)
    params = SamplingParams(**given_settings)
    probabilities = exact(logits, params)
    for uniform in (0.0, 1e-9, 0.3, 0.999, 1 - 2**-53):
        assert probabilities[draw(logits, params, uniform)] > 0
    if not given_settings:
        ends = np.cumsum(probabilities)
        for uniform in np.linspace(0.001, 0.999, 50):
            token = draw(logits, params, uniform)
            assert ends[token] - probabilities[token] - 1e-5 <= uniform <= ends[token] + 1e-5


def test_tokens_that_cannot_be_are_never_drawn() -> None:
    logits = np.full(1000, -np.inf, np.float32)
    logits[[3, 999]] = 0.0
    for kind in SETTINGS:
        drawn = {draw(logits, SamplingParams(**kind), uniform) for uniform in (0.0, 0.2, 0.5, 0.7, 1 - 2**-53)}
        assert drawn <= {3, 999}


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-5, 1e30, 1e300])
def test_any_temperature_is_a_distribution(temperature: float) -> None:
    logits = np.array([1.0, 2.0, 3.0, 2.9], np.float32)
    drawn = {draw(logits, SamplingParams(temperature=temperature), u) for u in (0.0, 0.3, 0.6, 0.99)}
    assert drawn == ({2} if temperature < 1 else {0, 1, 2, 3})

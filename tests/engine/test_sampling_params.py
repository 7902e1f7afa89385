"""Every field of a request's sampling is checked, and its error names it, its value and the remedy."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidSetting


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", -1), ("max_tokens", 1.5), ("max_tokens", True), ("max_tokens", "8"), ("max_tokens", 2**31),
        ("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("temperature", "hot"),
        ("temperature", None), ("temperature", True), ("top_k", -1), ("top_k", 2.0), ("top_k", None),
        ("top_p", 0), ("top_p", 1.1), ("top_p", math.nan), ("min_p", -0.1), ("min_p", 1.1),
        ("repetition_penalty", 0), ("repetition_penalty", math.inf), ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1), ("logit_bias", [1]), ("logit_bias", {"1": 1}), ("logit_bias", {-1: 1}),
        ("logit_bias", {1: 101}), ("logit_bias", {1: math.nan}), ("logit_bias", {True: 1}), ("seed", 2**64),
        ("seed", -(2**63) - 1), ("seed", 1.0), ("logprobs", -1), ("logprobs", True), ("prompt_logprobs", -1),
        ("stop", [""]), ("stop", ""), ("stop", [1]), ("stop", 3), ("stop_token_ids", [-1]), ("stop_token_ids", 3),
        ("stop_token_ids", ["a"]), ("ignore_eos", 1), ("min_tokens", -1),
    ],
)  # fmt: skip
def test_a_value_outside_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        SamplingParams(**{field: value})
    assert caught.value.setting.startswith(field) and caught.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"max_tokens": 0}, {"temperature": 0}, {"temperature": 5}, {"top_k": 10**6}, {"top_p": 1e-9}, {"min_p": 1},
        {"seed": -1}, {"seed": 2**64 - 1}, {"stop": ()}, {"logprobs": 0}, {"logit_bias": {0: -100, 5: 100}},
        {"max_tokens": 3, "min_tokens": 3},
    ],
)  # fmt: skip
def test_the_edges_are_admitted(settings: dict[str, Any]) -> None:
    SamplingParams(**settings)


def test_fields_are_put_into_one_form() -> None:
    params = SamplingParams(stop="end", stop_token_ids=[3, 3], temperature=1, logit_bias={2: 1})
    assert params.stop == ("end",) and params.stop_token_ids == (3,)
    assert isinstance(params.temperature, float) and params.logit_bias == {2: 1.0}
    assert SamplingParams(stop=["a", "b", "a"]).stop == ("a", "b")


def test_what_was_checked_cannot_change() -> None:
    biases = {1: 1.0}
    params = SamplingParams(logit_bias=biases)
    biases[1] = 1000.0
    assert params.logit_bias[1] == 1.0
    with pytest.raises(TypeError):
        params.logit_bias[1] = 1000.0  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.top_k = 3  # type: ignore[misc]


def test_min_tokens_beyond_max_tokens_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"min_tokens is 5: give at most max_tokens, which is 4"):
        SamplingParams(max_tokens=4, min_tokens=5)


@pytest.mark.parametrize("settings", [{"logit_bias": {9: 1}}, {"stop_token_ids": [9]}, {"logprobs": 10}])
def test_ids_beyond_the_vocabulary_are_refused(settings: dict[str, Any]) -> None:
    params = SamplingParams(**settings)
    params.check_ids(10)
    with pytest.raises(InvalidSetting, match="9"):
        params.check_ids(9)


@pytest.mark.parametrize(
    ("asked", "every"),
    [
        ({}, False),
        ({"temperature": 0, "seed": 1, "top_p": 0.9, "min_tokens": 3, "stop": ["x"]}, False),
        ({"logprobs": 0}, True),
        ({"logit_bias": {3: -100}}, True),
        ({"repetition_penalty": 1.1}, True),
        ({"presence_penalty": 0.5}, True),
    ],
)
def test_which_requests_need_every_logit(asked: dict[str, Any], every: bool) -> None:
    assert SamplingParams(**asked).every_logit is every

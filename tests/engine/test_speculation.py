"""Answers are the same with drafts and without: ids, log probabilities, reasons; and drafts do come."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.engine.speculate import Speculator, speculator
from ownlm.errors import InvalidSetting
from speculation_cases import Case, Cheap, Prophet


def check(seed: int) -> tuple[int, int]:
    case = Case(seed)
    wanted = case.answers(None)
    drafted = 0
    for drafts in (Prophet(wanted, 0.2, seed), Speculator(Cheap())):
        assert case.answers(drafts) == wanted
        drafted += case.counters.drafted_tokens
        accepted = case.counters.accepted_tokens
    return drafted, accepted


@pytest.mark.parametrize("seed", range(60))
def test_drafts_change_no_answer(seed: int) -> None:
    check(seed)


@settings(max_examples=int(os.environ.get("OWNLM_CASES", "400")), deadline=None)  # thousands were run, and may be again
@given(st.integers(1000, 1 << 40))
def test_drafts_change_no_answer_in_hundreds_of_cases(seed: int) -> None:
    check(seed)


def test_the_cases_meet_what_they_are_to_test() -> None:
    """Drafts are made, come, fail, and requests are preempted meanwhile."""
    drafted = accepted = preempted = 0
    for seed in range(20):
        case = Case(seed)
        case.answers(Prophet(case.answers(None), 0.2, seed))
        drafted += case.counters.drafted_tokens
        accepted += case.counters.accepted_tokens
        preempted += case.counters.preemptions
    assert accepted > 100 and drafted - accepted > 100 and preempted > 2


def test_the_setting() -> None:
    assert speculator("off") is None and speculator("lookup") is not None
    with pytest.raises(InvalidSetting, match=r"speculate.*perhaps.*lookup, off"):
        speculator("perhaps")

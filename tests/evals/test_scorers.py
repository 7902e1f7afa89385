"""Scorers against examples whose figures are known, and against the field's own programs."""

from __future__ import annotations

import doctest
import math
import random

import numpy as np
import pytest

from ownlm.evals import chrf, estimate, scorers


@pytest.mark.parametrize("module", [scorers, chrf, estimate])
def test_the_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "references", "em", "f1"),
    [
        ("October 1973", ["October 1973", "October", "1973"], 1, 1),
        ("in October 1973.", ["October 1973"], 0, 0.8),
        ("The Eiffel Tower", ["eiffel tower"], 1, 1),
        ("nearly $12", ["$12"], 0, 2 / 3),
        ("Paris", [], 0, 0),
        ("", [], 1, 1),
        ("", ["Paris"], 0, 0),
        ("the", ["Paris"], 0, 0),
        ("the", [], 1, 1),
        ("x x x", ["x"], 0, 0.5),
        ("x", ["the", "x"], 1, 1),
    ],
)
def test_squad_counts_words_as_its_own_program_does(answer: str, references: list[str], em: float, f1: float) -> None:
    assert scorers.exact_match(answer, references) == em
    assert scorers.f1(answer, references) == pytest.approx(f1)


# Of Google's rouge_score 0.1.2 without stemming: ROUGE-1, -2 and -L F-measures.
ROUGE = [
    ("The cat sat on the mat.", "A cat was sitting on the mat, happily.", 0.571429, 0.333333, 0.571429),
    (
        "We introduce adaptive loss scaling for mixed-precision training.",
        "We devise adaptive loss scaling to improve mixed precision training that surpass the state of the art.",
        0.538462, 0.333333, 0.538462,
    ),
    ("a b c d", "d c b a", 1.0, 0.0, 0.25),
    ("", "x", 0.0, 0.0, 0.0),
    ("Überraschung 42", "uberraschung 42", 0.5, 0.0, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "reference", "first", "second", "longest"), ROUGE)
def test_rouge_is_the_known_one(answer: str, reference: str, first: float, second: float, longest: float) -> None:
    assert scorers.rouge_n(answer, [reference], 1) == pytest.approx(first, abs=1e-6)
    assert scorers.rouge_n(answer, [reference], 2) == pytest.approx(second, abs=1e-6)
    assert scorers.rouge_l(answer, [reference]) == pytest.approx(longest, abs=1e-6)


def test_rouge_takes_the_reference_that_fits_best() -> None:
    assert scorers.rouge_l("a b", ["c d", "a b"]) == 1
    assert scorers.rouge_n("a b", ["c d", "a b"], 1) == 1


def _texts(seed: int) -> list[tuple[str, str]]:
    chance = random.Random(seed)
    text = "die Datei wird geöffnet , wenn le fichier n'est pas là — abre el archivo ¿no? 世界 😀 x"
    words = text.split()
    found = []
    for _ in range(40):
        reference = [chance.choice(words) for _ in range(chance.randint(1, 12))]
        answer = [word if chance.random() < 0.7 else chance.choice(words) for word in reference]
        found.append(("  ".join(answer[: chance.randint(0, 12)]), " ".join(reference)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_chrf_is_sacrebleus(seed: int) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = _texts(seed)
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    ours = float(chrf.chrf(np.array([chrf.counts(*pair) for pair in pairs]).sum(axis=0)))
    assert ours == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score, abs=1e-9)
    for answer, reference in pairs:
        alone = float(chrf.chrf(np.array(chrf.counts(answer, reference))))
        assert alone == pytest.approx(sacrebleu.sentence_chrf(answer, [reference]).score, abs=1e-9)


def test_chrf_of_nothing_is_nothing() -> None:
    assert float(chrf.chrf(np.zeros(18))) == 0
    assert float(chrf.chrf(np.array(chrf.counts("", "das")))) == 0


def test_wilsons_interval_stays_within_bounds() -> None:
    assert estimate.wilson(0, 20)[0] == 0 and estimate.wilson(20, 20)[1] == 100
    assert estimate.wilson(0, 20)[1] == pytest.approx(16.11, abs=0.01)  # Newcombe 1998, table I
    assert estimate.wilson(81, 263) == pytest.approx((25.53, 36.62), abs=0.01)


MEAN = estimate.Metric("accuracy", estimate.mean)


def test_the_bootstrap_covers_what_it_should() -> None:
    chance = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        scores = [(float(value), 1.0) for value in chance.random(80)]
        found = estimate.estimate(MEAN, scores, [str(at) for at in range(80)])
        assert found.low is not None and found.high is not None
        covered += found.low <= 50 <= found.high
    assert 52 <= covered <= 60


def test_samples_that_fail_together_widen_the_interval() -> None:
    scores = [(float(at // 10 % 2), 1.0) for at in range(100)]
    apart = estimate.estimate(MEAN, scores, [str(at) for at in range(100)])
    together = estimate.estimate(MEAN, scores, [str(at // 10) for at in range(100)])
    widths = [each.high - each.low for each in (apart, together) if each.high is not None and each.low is not None]
    assert apart.value == together.value == 50 and widths[1] > 2 * widths[0]


def test_the_same_scores_give_the_same_bits() -> None:
    scores = [(float(value), 1.0) for value in np.random.default_rng(0).random(50)]
    names = [str(at % 7) for at in range(50)]
    assert estimate.estimate(MEAN, scores, names) == estimate.estimate(MEAN, scores, names)


def test_what_was_not_scored_is_no_zero() -> None:
    assert estimate.estimate(MEAN, [], []).value is None
    assert estimate.estimate(MEAN, [(0.0, 0.0)], ["a"]).value is None


def test_bits_per_byte() -> None:
    metric = estimate.Metric("bits per byte", estimate.bits_per, unit="", better="lower")
    found = estimate.estimate(metric, [(math.log(2) * 10, 5.0), (math.log(2) * 2, 7.0)], ["a", "b"])
    assert found.value == 1 and found.low is not None and found.low < 1

"""SQuAD 2.0 (Rajpurkar et al. 2018): an answer from a paragraph, or that it has none. Half of the development articles.

``SQUAD2`` is held by ``ask``'s grammar, as ``ask`` writes; ``FREE`` is what the model writes unheld.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ownlm.evals.data import rows
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.grounded_answers import asked, held, said
from ownlm.evals.run import Result
from ownlm.evals.scorers import exact_match, f1
from ownlm.evals.task import Baseline, Comparable, Sample, Score, Task

DATA = "grounded_qa/squad2_dev"
LEAST_HAS_ANSWER_F1 = 35.0
LEAST_ABOVE_REFUSING = 5.0


def samples(folder: Path) -> Iterator[Sample]:
    """Questions in order; those of one paragraph are a cluster."""
    for row in rows(folder, DATA, ("id", "context", "question", "answers", "answerable")):
        answers = tuple(row["answers"]) if row["answerable"] else ()
        yield Sample(row["id"], asked(row["question"], row["context"]), answers, row["context"])


def score(sample: Sample, output: str) -> Score:
    """F1 and exact match, also apart for questions with and without an answer; how often it answered."""
    answer = said(output)
    found = {"F1": f1(answer, sample.references), "EM": exact_match(answer, sample.references)}
    kinds = ("HasAns F1", "HasAns EM") if sample.references else ("NoAns F1",)
    return {
        **{name: (value, 1.0) for name, value in found.items()},
        **{name: (found[name.split()[1]], 1.0) for name in kinds},
        "answered": (float(bool(answer)), 1.0),
    }


SQUAD2 = Task(
    name="squad2",
    about="SQuAD 2.0: answers from a paragraph, or a refusal; held by ask's grammar",
    samples=samples,
    template="grounded",
    score=score,
    grammar=held,
    metrics=tuple(Metric(name, mean) for name in ("F1", "EM", "HasAns F1", "HasAns EM", "NoAns F1", "answered")),
    max_tokens=64,
    starter=2000,
    whole_clusters=True,
    baseline=Baseline("always refusing", lambda sample: score(sample, "")),
    comparables=(
        Comparable("BERT-tiny 4.4M", "F1", 49.7, "whole development set"),
        Comparable("BERT-mini 11M", "F1", 59.7, "whole development set"),
        Comparable("BERT-small 29M", "F1", 64.2, "whole development set"),
    ),
)
FREE = replace(
    SQUAD2, name="squad2_free", about="SQuAD 2.0, answers not held by a grammar", grammar=None, starter=500,
    comparables=(),
)  # fmt: skip


def earns_ask(found: Result) -> tuple[bool, str]:
    """Whether a model answers well enough to be the default of ``ask``, and why: it must find answers, and be clearly
    better than refusing everything."""
    baseline = found.baseline or {"metrics": {}}
    figures = found.metrics["F1"].value, found.metrics["HasAns F1"].value, baseline["metrics"].get("F1")
    if figures[0] is None or figures[1] is None or figures[2] is None:
        return False, "too few questions were asked"
    both, has, refusing = figures[0], figures[1], figures[2].value
    good = has >= LEAST_HAS_ANSWER_F1 and both >= refusing + LEAST_ABOVE_REFUSING
    return good, (
        f"HasAns F1 {has:.1f} (at least {LEAST_HAS_ANSWER_F1:.0f}), "
        f"F1 {both:.1f} (at least {refusing + LEAST_ABOVE_REFUSING:.1f}: always refusing gives {refusing:.1f})"
    )

"""SciTLDR (Cachola et al. 2020): a paper's abstract in one sentence. Development part, abstracts alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ownlm.evals.data import digest, rows
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.scorers import rouge_l, rouge_n
from ownlm.evals.task import Baseline, Sample, Score, Task
from ownlm.prompts.summarize import Summarize

DATA = "summarization/scitldr_dev"


def samples(folder: Path) -> Iterator[Sample]:
    """Abstracts in order, with one or several sentences that people wrote."""
    for row in rows(folder, DATA, ("source", "target")):
        text = " ".join(row["source"])
        yield Sample(digest(text), Summarize(text), tuple(row["target"]), lead=row["source"][0])


def score(sample: Sample, output: str) -> Score:
    """ROUGE F1, each with the reference that fits best."""
    return {
        "ROUGE-1": (rouge_n(output, sample.references, 1), 1.0),
        "ROUGE-2": (rouge_n(output, sample.references, 2), 1.0),
        "ROUGE-L": (rouge_l(output, sample.references), 1.0),
    }


SCITLDR = Task(
    name="scitldr",
    about="SciTLDR: abstracts of papers in one sentence",
    samples=samples,
    template="summarize",
    score=score,
    metrics=tuple(Metric(name, mean) for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L")),
    max_tokens=64,
    starter=200,
    baseline=Baseline("lead-1", lambda sample: score(sample, sample.lead)),
)

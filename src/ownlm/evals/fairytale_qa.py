"""FairytaleQA (Xu et al. 2022): questions about sections of fairy tales, answers in own words. Validation part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ownlm.evals.data import digest, rows
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.grounded_answers import asked, held, said
from ownlm.evals.scorers import f1, rouge_l
from ownlm.evals.task import Baseline, Sample, Score, Task
from ownlm.rag.sentences import sentences

DATA = "grounded_qa/fairytaleqa_dev"


def samples(folder: Path) -> Iterator[Sample]:
    """Questions in order; those of one section are a cluster."""
    for row in rows(folder, DATA, ("question", "context", "answers")):
        lead = next((row["context"][a:b] for a, b in sentences(row["context"])), "")
        name = digest(row["context"], row["question"], *row["answers"])
        yield Sample(name, asked(row["question"], row["context"]), tuple(row["answers"]), row["context"], lead)


def score(sample: Sample, output: str) -> Score:
    """With the answer that fits best; all questions have one, so that a refusal scores nothing."""
    answer = said(output)
    return {
        "ROUGE-L": (rouge_l(answer, sample.references), 1.0),
        "F1": (f1(answer, sample.references), 1.0),
        "answered": (float(bool(answer)), 1.0),
    }


FAIRYTALE_QA = Task(
    name="fairytale_qa",
    about="FairytaleQA: questions about fairy tales, answered in own words; held by ask's grammar",
    samples=samples,
    template="grounded",
    score=score,
    grammar=held,
    metrics=tuple(Metric(name, mean) for name in ("ROUGE-L", "F1", "answered")),
    max_tokens=64,
    starter=300,
    whole_clusters=True,
    baseline=Baseline("first sentence", lambda sample: score(sample, sample.lead)),
)

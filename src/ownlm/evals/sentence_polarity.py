"""Sentence polarity (Pang and Lee 2005): a sentence of a movie review. The held-out tenth of the rows at hand."""

from __future__ import annotations

from ownlm.evals.sentiment import ACCURACY, POSITIVE, held_out_samples, labels, score
from ownlm.evals.task import Comparable, Task

SENTENCE_POLARITY = Task(
    name="sentence_polarity",
    about="sentences of movie reviews, positive or negative",
    samples=held_out_samples("sentiment/sentence_polarity_train", str.strip),
    template="sentiment",
    score=score,
    grammar=labels,
    metrics=ACCURACY,
    max_tokens=16,
    baseline=POSITIVE,
    comparables=(
        Comparable("BERT-tiny 4.4M", "accuracy", 83.7, "SST-2, the same sentences relabelled"),
        Comparable("T5-small 60M", "accuracy", 91.8, "SST-2, the same sentences relabelled"),
    ),
)

"""Sentence polarity (Pang and Lee 2005): a sentence of a movie review. The held-out tenth of the rows at hand."""

from __future__ import annotations

from ownlm.evals.sentiment import polarity
from ownlm.evals.task import Comparable

SENTENCE_POLARITY = polarity(
    "sentence_polarity",
    "sentences of movie reviews, positive or negative",
    "sentiment/sentence_polarity_train",
    str.strip,
    (
        Comparable("BERT-tiny 4.4M", "accuracy", 83.7, "SST-2, the same sentences relabelled"),
        Comparable("T5-small 60M", "accuracy", 91.8, "SST-2, the same sentences relabelled"),
    ),
)

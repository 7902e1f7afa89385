"""Whether a text is positive or negative: what tasks of this kind share. Answers are held to the two labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ownlm.errors import InvalidData
from ownlm.evals.data import digest, rows
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.held_out import held_out
from ownlm.evals.task import Baseline, Comparable, Sample, Score, Task
from ownlm.prompts.sentiment import LABELS, Sentiment

if TYPE_CHECKING:
    from ownlm.engine.grammar import Grammar

ACCURACY = (Metric("accuracy", mean, "wilson"), Metric("positive recall", mean), Metric("negative recall", mean))
POSITIVE = Baseline("always positive", lambda sample: score(sample, "positive"))


def held_out_samples(data: str, read: Callable[[str], str]) -> Callable[[Path], Iterator[Sample]]:
    """The rows of a set that are held out, as ``read`` shows them."""

    def samples(folder: Path) -> Iterator[Sample]:
        seen: Counter[str] = Counter()
        for row in rows(folder, data, ("text", "label")):
            if row["label"] not in LABELS:
                raise InvalidData(folder / data, f"has the label {row['label']!r}", f"labels are {', '.join(LABELS)}")
            if held_out(row["text"]):
                name = digest(row["text"])
                seen[name] += 1
                yield Sample(f"{name}-{seen[name]}", Sentiment(read(row["text"])), (row["label"],), name)

    return samples


def polarity(
    name: str, about: str, data: str, read: Callable[[str], str], comparables: tuple[Comparable, ...] = ()
) -> Task:
    """The task over a set's held-out rows, as ``read`` shows them."""
    return Task(
        name=name,
        about=about,
        samples=held_out_samples(data, read),
        template="sentiment",
        score=score,
        grammar=labels,
        metrics=ACCURACY,
        max_tokens=16,
        baseline=POSITIVE,
        comparables=comparables,
    )


def labels(_sample: Sample) -> Grammar:
    from ownlm.engine.grammar import Grammar

    return Grammar.choice(LABELS)


def score(sample: Sample, output: str) -> Score:
    """Right or wrong; recall of each label, so that a model that always says the same is seen."""
    (label,) = sample.references
    right = (float(output.strip() == label), 1.0)
    return {"accuracy": right, f"{label} recall": right}

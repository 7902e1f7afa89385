"""Movie reviews (Pang and Lee 2004), positive or negative. The held-out tenth; each is read by its end."""

from __future__ import annotations

from ownlm.evals.sentiment import ACCURACY, POSITIVE, held_out_samples, labels, score
from ownlm.evals.task import Task

CHARACTERS = 1500


def excerpt(review: str) -> str:
    """The last whole lines of a review, one a sentence, within ``CHARACTERS``: the verdict stands at the end, and small
    models have a short context.

    >>> excerpt("it begins . \\nit ends well . \\n")
    'it begins .\\nit ends well .'
    """
    lines = [line.strip() for line in review.strip().splitlines()]
    kept, size = [], 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > CHARACTERS + 1:
            break
        kept.append(line)
    return "\n".join(reversed(kept)) or lines[-1][-CHARACTERS:]


MOVIE_REVIEWS = Task(
    name="movie_reviews",
    about=f"movie reviews, positive or negative, read by their last {CHARACTERS:,} characters",
    samples=held_out_samples("sentiment/movie_reviews_train", excerpt),
    template="sentiment",
    score=score,
    grammar=labels,
    metrics=ACCURACY,
    max_tokens=16,
    baseline=POSITIVE,
)

"""Movie reviews (Pang and Lee 2004), positive or negative. The held-out tenth; each is read by its end."""

from __future__ import annotations

from ownlm.evals.sentiment import polarity

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


MOVIE_REVIEWS = polarity(
    "movie_reviews",
    f"movie reviews, positive or negative, read by their last {CHARACTERS:,} characters",
    "sentiment/movie_reviews_train",
    excerpt,
)

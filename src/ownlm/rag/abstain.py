"""Whether what would be quoted answers the question: a calibrated probability from readable signs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ownlm.rag.features import SENTENCE
from ownlm.rag.query import Query
from ownlm.rag.rerank import Rarity
from ownlm.rag.sentence_features import Option
from ownlm.rag.stem import stems
from ownlm.rag.weights import Weights

_NAME = re.compile(r"(?<!^)\b[A-Z][\w'’-]*|\b\w*\d\w*")
_NEVER_NAMES = frozenset({"I", "I'm", "I'd", "I'll", "I've"})


def features(query: Query, rarity: Rarity, options: Sequence[Option]) -> tuple[float, ...]:
    """The numbers named in ``features.ABSTAIN``, from options that are scored, best first, and not empty."""
    best = options[0]
    of = dict(zip(SENTENCE, best.features, strict=True))
    rival = next((o.score for o in options if o.candidate.chunk_id != best.candidate.chunk_id), best.score - 5.0)
    passage = set(best.candidate.above)
    for sentence in best.candidate.sentences:
        passage.update(sentence.stems)
    rarest = max(rarity.of.values(), default=1.0) or 1.0
    missing = [weight for term, weight in rarity.of.items() if term not in passage]
    names = {part for name in names_and_numbers(query.text) for part in stems(name)}
    return (
        best.score / 10,
        min(best.score - rival, 5.0) / 5,
        best.candidate.passage.score / 20,
        best.sentence.cosine,
        best.candidate.cosine,
        max(option.sentence.cosine for option in options),
        of["coverage"],
        of["context_coverage"],
        rarity.coverage(passage),
        max(missing, default=0.0) / rarest,
        sum(part not in passage for part in names) / len(names) if names else 0.0,
        rarity.unknown,
        of["kind_held"],
        of["kind_missing"],
        of["pairs"],
        math.log2(1 + len(query.terms)) / 4,
        of["reader"],
        max(max(option.candidate.read, default=0.0) for option in options),
    )


def names_and_numbers(question: str) -> list[str]:
    """Words of a question that name one thing: capitalised within it, or with a digit.

    >>> names_and_numbers("When did Mrs Adeyemi join unit 4?")
    ['Mrs', 'Adeyemi', '4']
    """
    return [name for name in _NAME.findall(question) if name not in _NEVER_NAMES]


def confidence(query: Query, rarity: Rarity, options: Sequence[Option], weights: Weights) -> float:
    """The probability that the best options answer the question; 0 when there is none."""
    if not options:
        return 0.0
    found = features(query, rarity, options)
    score = weights.bias + sum(w * x for w, x in zip(weights.abstain, found, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, score))))

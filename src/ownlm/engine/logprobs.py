"""Log probabilities as the model gave them: before temperature, penalties, bias and grammar."""

from __future__ import annotations

import numpy as np

from ownlm.engine.likeliest import Logits, likeliest

TopLogprobs = list[tuple[int, float]]


def token_logprobs(logits: Logits, token: int, top: int) -> tuple[float, TopLogprobs]:
    """The natural logarithm of a token's probability, and (id, the same) of the ``top`` likeliest, best first."""
    largest = logits.max()
    with np.errstate(under="ignore"):
        normalizer = float(largest) + float(np.log(np.exp(logits - largest).sum(dtype=np.float64)))
    best = [] if top == 0 else likeliest(logits, top).tolist()
    return float(logits[token]) - normalizer, [(id_, float(logits[id_]) - normalizer) for id_ in best]

"""Which tokens were there before, and how often: what the three penalties read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.sampling_params import SamplingParams


class Occurrences:
    """Tokens of a prompt and its answer, each once, with its count in the answer. A token more costs O(1)."""

    def __init__(self, prompt: Sequence[int]) -> None:
        seen = np.unique(np.asarray(prompt, np.int64))
        self._size = len(seen)
        self._ids = np.zeros(max(64, 2 * self._size), np.int64)
        self._ids[: self._size] = seen
        self._counts = np.zeros(len(self._ids), np.int64)
        self._places = {id_: place for place, id_ in enumerate(seen.tolist())}

    def add(self, token: int) -> None:
        """The answer goes on with this token."""
        place = self._places.setdefault(token, self._size)
        if place == self._size:
            if place == len(self._ids):
                self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._ids[place] = token
            self._size += 1
        self._counts[place] += 1

    def penalize(self, logits: NDArray[np.float32], params: SamplingParams) -> None:
        """Change a row of logits in place."""
        ids, counts = self._ids[: self._size], self._counts[: self._size]
        values = logits[ids].astype(np.float64)
        if params.repetition_penalty != 1:
            factor = params.repetition_penalty
            values = np.where(values > 0, values / factor, values * factor)
        values -= params.frequency_penalty * counts
        values -= params.presence_penalty * (counts > 0)
        logits[ids] = values

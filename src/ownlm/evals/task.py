"""What is measured: rows made samples, what a model is asked of each, and how its answer is scored.

rows ──> Sample(inputs, references) ──> prompt ──> model ──> answer ──> Score ──> Metric with interval
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.evals.estimate import Metric
from ownlm.prompts import Prompt

if TYPE_CHECKING:
    from ownlm.engine.grammar import Grammar

Score = Mapping[str, tuple[float, ...]]
"""Sums by metric, such as (1.0, 1.0): one of one was right. A metric that is not there was not scored: no zero."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``inputs``: what the task's prompt is filled with, or a text to be read. ``references``: what would be right,
    none where nothing should be answered. ``cluster``: samples of one are alike, and are resampled together.
    ``lead``: what a baseline says.
    """

    id: str
    inputs: Any
    references: tuple[str, ...] = ()
    cluster: str = ""
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What costs nothing, measured on the same samples by the same scorers."""

    name: str
    score: Callable[[Sample], Score]


@dataclass(frozen=True, slots=True)
class Comparable:
    """A published figure of another model, and on what it was measured if that is not the same."""

    name: str
    metric: str
    value: float
    on: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What all tasks have. ``version`` grows whenever a figure could change; the first of ``metrics`` is the main one.

    ``starter``: so many samples are measured by ``ownlm eval starter``, None for all. ``whole_clusters``: a part of the
    samples is drawn by clusters, so that what is computed of one paragraph serves all its questions.
    """

    name: str
    version: int = 1
    about: str
    samples: Callable[[Path], Iterator[Sample]]
    metrics: tuple[Metric, ...]
    starter: int | None = None
    whole_clusters: bool = False
    baseline: Baseline | None = None
    comparables: tuple[Comparable, ...] = ()

    def drawn(self, folder: Path, limit: int | None = None) -> tuple[list[Sample], int]:
        """The samples, or ``limit`` of them chosen by hash, in the data's order; and how many there are in all.

        A smaller limit chooses a part of what a larger one does. Raises InvalidSetting for a limit below 1, and what
        reading the data raises.
        """
        if limit is not None and limit < 1:
            raise InvalidSetting("--limit", limit, "give a number of samples, 1 or more")
        every = list(self.samples(folder))
        if limit is None or limit >= len(every):
            return every, len(every)
        keys = [(_hash(each.cluster) if self.whole_clusters else b"", _hash(each.id)) for each in every]
        chosen = sorted(range(len(every)), key=lambda at: keys[at])[:limit]
        return [every[at] for at in sorted(chosen)], len(every)


@dataclass(frozen=True, kw_only=True)
class Task(Measure):
    """A model writes an answer of at most ``max_tokens``, the likeliest token each time.

    ``template``: what it is asked with (``prompts.load``: the words that suit the model); ``prompt``: these words
    instead. ``grammar``: what the answer to a sample is held to.
    """

    template: str
    prompt: Prompt[Any] | None = None
    score: Callable[[Sample, str], Score]
    max_tokens: int
    grammar: Callable[[Sample], Grammar] | None = None


@dataclass(frozen=True, kw_only=True)
class TextTask(Measure):
    """A model reads texts (``inputs``), in windows of at most ``window`` tokens, and says how likely they were."""

    window: int = 1024


def _hash(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()

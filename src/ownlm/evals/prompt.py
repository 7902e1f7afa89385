"""Which wording of a prompt, and which examples, a model answers best with.

samples ──by hash──> examples (if shots are wanted) │ chosen on │ checked on
                                                     every candidate   the best one and the one in use

The figure that is reported is of samples that the choice did not see: the best of many figures flatters itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.evals.estimate import Estimate
from ownlm.evals.paired import difference
from ownlm.evals.run import run
from ownlm.evals.task import Sample, Score, Task
from ownlm.prompts import Prompt, Shot, load
from ownlm.prompts.examples import Examples, NearestPrompt, with_fixed, with_nearest
from ownlm.prompts.grounded import NOTHING, cited

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.engine.llm import LLM

LEAST = 8  # samples of a part: below this a figure says nothing
MOST_EXAMPLES = 256
OnResult = Callable[["Candidate"], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt and its figure on the samples that the choice is made on."""

    prompt: Prompt[Any]
    figure: Estimate


@dataclass(frozen=True, slots=True)
class Choice:
    """``figure``: of the best prompt, on samples that the choice did not see; ``before``: of the prompt that was in
    use, on the same ones; ``gain``: the first minus the second, sample by sample. Where the one in use did better
    there, it is the best."""

    task: str
    metric: str
    best: Prompt[Any]
    figure: Estimate
    before: Estimate
    gain: Estimate
    candidates: tuple[Candidate, ...]
    chosen_on: int
    checked_on: int

    def json(self) -> dict[str, Any]:
        """The figures; ``best`` by its version."""
        return {
            "task": self.task,
            "metric": self.metric,
            "prompt": self.best.version,
            "figure": dataclasses.asdict(self.figure),
            "before": dataclasses.asdict(self.before),
            "gain": dataclasses.asdict(self.gain),
            "chosen_on": self.chosen_on,
            "checked_on": self.checked_on,
            "candidates": [
                {"prompt": each.prompt.version, "figure": dataclasses.asdict(each.figure)} for each in self.candidates
            ],
        }


def choose(
    task: Task,
    llm: LLM,
    data: Path,
    prompts: Sequence[Prompt[Any]],
    *,
    limit: int | None = None,
    shots: int = 0,
    embedder: Embedder | None = None,
    on_result: OnResult | None = None,
) -> Choice:
    """Measure ``prompts`` beside the one in use, on the task's samples below ``data`` or ``limit`` of them.

    With ``shots``, each is measured without examples, with so many fixed ones, and with as many nearest ones.
    Raises InvalidSetting where there are too few samples, and what ``run`` raises.
    """
    if shots < 0:
        raise InvalidSetting("--shots", shots, "give a number of examples, 0 for none")
    drawn, _ = task.drawn(data, limit)
    pool, choosing, checking = _parts(drawn, task.name, with_examples=shots > 0)
    used = task.prompt or load(task.template, llm)
    every = _candidates(task, [used, *prompts], pool, shots, embedder)
    metric = task.metrics[0]
    report = on_result or (lambda candidate: None)
    found: list[Candidate] = []
    for prompt in every:
        figure, _ = _measured(task, prompt, llm, choosing)
        found.append(Candidate(prompt, figure))
        report(found[-1])
    best = max(found, key=lambda each: _goodness(each.figure, metric.better)).prompt
    before, scores_before = _measured(task, used, llm, checking)
    figure, scores = (before, scores_before) if best.version == used.version else _measured(task, best, llm, checking)
    if _goodness(figure, metric.better) < _goodness(before, metric.better):
        best, figure, scores = used, before, scores_before
    clusters = [sample.cluster or sample.id for sample in checking]
    gain = difference(metric, scores, scores_before, clusters)
    return Choice(
        task.name, metric.name, best, figure, before, gain, tuple(found), len(choosing), len(checking)
    )  # fmt: skip


def as_shot(task: Task, sample: Sample) -> Shot[Any] | None:
    """A sample as an example that is shown; None where it has no answer that could be.

    A grounded answer cites the first passage that holds it.
    """
    if task.template != "grounded":
        return Shot(sample.inputs, sample.references[0]) if sample.references else None
    if not sample.references:
        return Shot(sample.inputs, NOTHING)
    texts = [source.text for source in sample.inputs.sources]
    number = next((at for at, text in enumerate(texts, 1) if sample.references[0] in text), 1)
    return Shot(sample.inputs, cited(sample.references[0], number))


def _candidates(
    task: Task, prompts: Sequence[Prompt[Any]], pool: Sequence[Sample], shots: int, embedder: Embedder | None
) -> list[Prompt[Any]]:
    """Each once by its version, the one in use first. One that has examples already gets no others."""
    wanted = list({prompt.version: prompt for prompt in prompts}.values())
    for prompt in wanted:
        if prompt.template != task.template:
            raise InvalidSetting("variant", prompt.version, f"{task.name} asks through {task.template}")
    if not shots:
        return wanted
    shown = [shot for sample in pool if (shot := as_shot(task, sample)) is not None][:MOST_EXAMPLES]
    if len(shown) <= shots:
        raise InvalidSetting("--shots", shots, f"there are {len(shown)} examples to choose from: give fewer")
    examples = Examples(shown, embedder)
    fixed = examples.fixed(shots)
    return [
        each
        for prompt in wanted
        for each in (
            (prompt,)
            if prompt.shots or isinstance(prompt, NearestPrompt)
            else (prompt, with_fixed(prompt, fixed), with_nearest(prompt, examples, shots))
        )
    ]  # fmt: skip


def _parts(
    samples: Sequence[Sample], task: str, *, with_examples: bool
) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Examples, choosing, checking: a fifth and two of two fifths, or nothing and two halves, by the hash of a sample's
    cluster, so that no part knows a passage of another, or of its inputs, so that equal ones stay together."""
    shares = [2, 4, 4] if with_examples else [0, 5, 5]
    parts: tuple[list[Sample], ...] = ([], [], [])
    for sample in samples:
        name = sample.cluster or repr(sample.inputs)
        place = int.from_bytes(sha256(f"part {name}".encode("utf-8", "replace")).digest()[:4], "big") % 10
        at = 0 if place < shares[0] else 1 if place < shares[0] + shares[1] else 2
        parts[at].append(sample)
    for part in parts[0 if with_examples else 1 :]:
        if len(part) < LEAST:
            raise InvalidSetting(
                "--limit",
                len(samples),
                f"{task} then has {len(part)} samples in a part, of at least {LEAST}: give more",
            )
    return parts[0], parts[1], parts[2]


def _measured(task: Task, prompt: Prompt[Any], llm: LLM, samples: list[Sample]) -> tuple[Estimate, list[Score]]:
    scores: list[Score] = []

    def given(folder: Path) -> Iterator[Sample]:
        return iter(samples)

    asked = dataclasses.replace(task, prompt=prompt, samples=given, baseline=None)
    result = run(asked, llm, Path(), on_answer=lambda sample, text, score: scores.append(score))
    return result.metrics[task.metrics[0].name], scores


def _goodness(figure: Estimate, better: str) -> float:
    if figure.value is None:
        return float("-inf")
    return figure.value if better == "higher" else -figure.value

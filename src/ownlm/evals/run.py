"""A task measured with a model: samples answered together by the engine, scored, and summed up with intervals.

Equal weights give equal figures to the last digit, on one machine: answers are greedy, the kernels' results do not
depend on what is computed beside a request, and resampling has a fixed seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ownlm.evals.estimate import Estimate, estimate
from ownlm.evals.task import Baseline, Comparable, Measure, Sample, Score, Task, TextTask
from ownlm.prompts import Prompt, load
from ownlm.rag.generate.generator import prompt_ids

if TYPE_CHECKING:
    from ownlm.engine.generation import Generation, Output
    from ownlm.engine.llm import LLM
    from ownlm.engine.sampling_params import SamplingParams

_TOGETHER = 256  # samples that are with the engine at a time
OnProgress = Callable[[int, int], None]
OnAnswer = Callable[[Sample, str, Score], None]


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one task. ``samples`` of ``available`` were measured; of these ``too_long`` did not fit the context
    and count as unanswered, and ``cut`` reached ``max_tokens``. ``settings``: what else the figures depend on."""

    task: str
    version: int
    prompt: str | None
    samples: int
    available: int
    metrics: dict[str, Estimate]
    baseline: dict[str, Any] | None
    comparables: tuple[Comparable, ...]
    settings: dict[str, Any]
    too_long: int = 0
    cut: int = 0

    def json(self) -> dict[str, Any]:
        """For evals.json: nothing in it changes from run to run."""
        return asdict(self)


def run(
    task: Measure,
    llm: LLM,
    data: Path,
    *,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    on_answer: OnAnswer | None = None,
) -> Result:
    """Measure ``llm`` on a task's samples below ``data``, or ``limit`` of them (``Measure.drawn``).

    ``on_progress(done, total)`` counts samples; ``on_answer`` is given each answer with its score. Raises what reading
    the data and the engine raise.
    """
    samples, available = task.drawn(data, limit)
    report = on_progress or (lambda done, total: None)
    scores: list[Score] = []
    too_long = cut = 0
    report(0, len(samples))
    prompt = None
    if isinstance(task, Task):
        prompt = task.prompt or load(task.template, llm)
        settings: dict[str, Any] = {"max_tokens": task.max_tokens, "context": llm.context}
        for sample, output in zip(samples, _answers(task, llm, prompt, samples), strict=True):
            text = "" if output is None else output.text
            too_long += output is None
            cut += output is not None and output.finish_reason == "length"
            scores.append(task.score(sample, text))
            if on_answer is not None:
                on_answer(sample, text, scores[-1])
            report(len(scores), len(samples))
    elif isinstance(task, TextTask):
        window = min(task.window, llm.context)
        settings = {"window": window}
        for sample in samples:
            scores.append({task.metrics[0].name: read(llm, sample.inputs, window)})
            report(len(scores), len(samples))
    else:
        raise TypeError(f"{type(task).__name__} is neither a Task nor a TextTask")
    return Result(
        task=task.name,
        version=task.version,
        prompt=None if prompt is None else prompt.version,
        samples=len(samples),
        available=available,
        metrics=estimates(task, samples, scores),
        baseline=_measured(task, task.baseline, samples),
        comparables=task.comparables,
        settings=settings,
        too_long=too_long,
        cut=cut,
    )


def estimates(task: Measure, samples: Sequence[Sample], scores: Sequence[Score]) -> dict[str, Estimate]:
    """Each metric over the samples that it was scored for."""
    found: dict[str, Estimate] = {}
    for metric in task.metrics:
        there = [at for at, score in enumerate(scores) if metric.name in score]
        clusters = [samples[at].cluster or samples[at].id for at in there]
        found[metric.name] = estimate(metric, [scores[at][metric.name] for at in there], clusters)
    return found


def read(llm: LLM, text: str, window: int) -> tuple[float, float]:
    """(nats, bytes) of a text in windows of so many tokens, each token predicted from those before it in its window.

    The first token of the text, which nothing predicts, is counted in neither, unless the model has a token that
    begins texts: that one predicts it, and stands before every window.
    """
    from ownlm.engine.sampling_params import SamplingParams
    from ownlm.model.opened import windows

    tokenizer = llm.tokenizer
    ids = tokenizer.encode(text, add_special=False, parse_special=False)
    size = len(text.encode("utf-8"))
    if tokenizer.bos_id is not None:
        parts = [[tokenizer.bos_id, *ids[at : at + window - 1]] for at in range(0, len(ids), window - 1)]
    else:
        parts = [part.tolist() for part in windows(ids, window - 1)]
        size -= len(tokenizer.decode(ids[:1]).encode("utf-8"))
    params = SamplingParams(max_tokens=0, temperature=0, prompt_logprobs=0)
    nats = 0.0
    for output in _outputs(llm, ((part, params) for part in parts)):
        if output is None or output.prompt_logprobs is None:
            raise AssertionError("a window is within the context, and its log probabilities were asked for")
        nats -= math.fsum(each[0] for each in output.prompt_logprobs if each is not None)
    return nats, float(size)


def _answers(task: Task, llm: LLM, prompt: Prompt[Any], samples: Iterable[Sample]) -> Iterator[Output | None]:
    """Answers in order; None where prompt and answer do not fit the context."""
    from ownlm.engine.sampling_params import SamplingParams

    def asked(sample: Sample) -> tuple[list[int], SamplingParams]:
        grammar = None if task.grammar is None else llm.compile_grammar(task.grammar(sample))
        params = SamplingParams(max_tokens=task.max_tokens, temperature=0, grammar=grammar)
        return prompt_ids(llm, prompt.messages(sample.inputs)), params

    return _outputs(llm, map(asked, samples))


def _outputs(llm: LLM, asked: Iterable[tuple[list[int], SamplingParams]]) -> Iterator[Output | None]:
    waiting: deque[Generation | None] = deque()
    for ids, params in asked:
        fits = len(ids) + (params.max_tokens or 0) <= llm.context
        waiting.append(llm.start(ids, params)[0] if fits else None)
        if len(waiting) >= _TOGETHER:
            yield _output(waiting.popleft())
    while waiting:
        yield _output(waiting.popleft())


def _output(generation: Generation | None) -> Output | None:
    return None if generation is None else generation.output()


def _measured(task: Measure, baseline: Baseline | None, samples: Sequence[Sample]) -> dict[str, Any] | None:
    if baseline is None:
        return None
    found = estimates(task, samples, [baseline.score(sample) for sample in samples])
    return {"name": baseline.name, "metrics": {name: value for name, value in found.items() if value.value is not None}}

"""Python's documentation from English: sentences of the pages that are held out of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ownlm.evals.chrf import CHRF, counts
from ownlm.evals.data import digest, rows
from ownlm.evals.held_out import held_out
from ownlm.evals.task import Baseline, Sample, Score, Task
from ownlm.prompts.translate import LANGUAGES, Translate

SHORTEST, LONGEST = 16, 300
"""Characters of English: shorter ones are mostly names, longer ones paragraphs."""


def samples_of(target: str) -> Callable[[Path], Iterator[Sample]]:
    """Pairs of the held-out pages, each once, page by page; those of one page are a cluster."""

    def samples(folder: Path) -> Iterator[Sample]:
        seen: set[str] = set()
        for row in rows(folder, f"translation/python_docs_en_{target}", ("path", "en", "tgt")):
            text = row["en"].strip()
            if held_out(row["path"]) and SHORTEST <= len(text) <= LONGEST and text not in seen:
                seen.add(text)
                yield Sample(digest(text), Translate(text, target), (row["tgt"].strip(),), row["path"])

    return samples


def score(sample: Sample, output: str) -> Score:
    """Counts for the corpus's chrF."""
    return {"chrF": counts(output, sample.references[0])}


def _task(target: str) -> Task:
    return Task(
        name=f"translate_en_{target}",
        about=f"Python's documentation into {LANGUAGES[target]}",
        samples=samples_of(target),
        template="translate",
        score=score,
        metrics=(CHRF,),
        max_tokens=192,
        starter=200,
        baseline=Baseline("the English text", lambda sample: score(sample, sample.inputs.text)),
    )


EN_ES, EN_FR = _task("es"), _task("fr")

"""The tasks by name. Nothing is read or imported before one is wanted."""

from __future__ import annotations

from importlib import import_module

from ownlm.errors import NotFound
from ownlm.evals.task import Measure

TASKS = {
    "squad2": ("ownlm.evals.squad2", "SQUAD2"),
    "squad2_free": ("ownlm.evals.squad2", "FREE"),
    "fairytale_qa": ("ownlm.evals.fairytale_qa", "FAIRYTALE_QA"),
    "scitldr": ("ownlm.evals.scitldr", "SCITLDR"),
    "sentence_polarity": ("ownlm.evals.sentence_polarity", "SENTENCE_POLARITY"),
    "movie_reviews": ("ownlm.evals.movie_reviews", "MOVIE_REVIEWS"),
    "translate_en_es": ("ownlm.evals.translation", "EN_ES"),
    "translate_en_fr": ("ownlm.evals.translation", "EN_FR"),
    "mbpp_lines": ("ownlm.evals.mbpp_lines", "MBPP_LINES"),
    "wikitext2": ("ownlm.evals.wikitext2", "WIKITEXT2"),
}


def load_task(name: str) -> Measure:
    """Raises NotFound, naming those there are."""
    if name not in TASKS:
        raise NotFound(f"there is no task {name!r}: there are {', '.join(TASKS)}")
    module, variable = TASKS[name]
    found: Measure = getattr(import_module(module), variable)
    return found

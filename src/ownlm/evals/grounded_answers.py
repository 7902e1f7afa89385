"""What tasks share whose answers are to stand in a passage: asked as ``ask`` asks, and held as ``ask`` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ownlm.evals.task import Sample
from ownlm.prompts.grounded import NOTHING, Grounded, Source, unmarked

if TYPE_CHECKING:
    from ownlm.engine.grammar import Grammar


def asked(question: str, passage: str) -> Grounded:
    """A question with one passage."""
    return Grounded(question.strip(), (Source("", passage),))


def held(sample: Sample) -> Grammar:
    """``ask``'s grammar: the sentence of refusal, or claims with citations, whose quotations stand in the passage."""
    from ownlm.engine.grammar import Grammar
    from ownlm.rag.generate.grammar import grammar

    return Grammar.lark(grammar([source.text for source in sample.inputs.sources]))


def said(output: str) -> str:
    """An answer without its marks; "" for a refusal.

    >>> said("“in 1973” [1]. [1]"), said("The documents do not answer this.")
    ('in 1973', '')
    """
    text = output.strip()
    return "" if text.casefold().startswith(NOTHING.casefold().rstrip(".")) else unmarked(text)

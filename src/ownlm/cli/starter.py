"""The language model that ships, for commands that were given none, and what is said about it."""

from __future__ import annotations


def or_starter(model: str | None) -> str:
    """The model that was given, or the one that ships. Raises NotFound if none does."""
    from ownlm import hub

    return hub.starter() if model is None else model


def remark(model: str) -> str | None:
    """What a user of the model that ships should know before it says anything; None for every other model.

    It is called a demonstration until its own figures earn it more (``evals.squad2.earns_ask``).
    """
    from ownlm import hub
    from ownlm.hub.local import STARTER

    if not (model in hub.shipped() and model.startswith(STARTER)):
        return None
    return (
        f"{model} is a demonstration: so small a model is often wrong. Its card says how often (ownlm show {model}); "
        "give a better one with --model"
    )

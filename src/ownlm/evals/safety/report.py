"""All safety figures of a model: as JSON for evals.json, and as lines for people and model cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ownlm.evals.safety import bias
from ownlm.evals.safety.ask import Sampling
from ownlm.evals.safety.canaries import Canary, exposure
from ownlm.evals.safety.corpus import Corpus
from ownlm.evals.safety.privacy import LONG, privacy
from ownlm.evals.safety.toxicity import toxicity

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM

VERSION = 1
"""Grows whenever a figure could change: with every word of a list or a prompt."""
OnProgress = Callable[[int, int], None]


def measure(
    llm: LLM,
    sampling: Sampling,
    *,
    corpus: Corpus | None = None,
    canaries: Sequence[Canary] = (),
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Every figure; the same weights, settings and corpus give the same ones.

    ``on_progress(done, total)`` counts parts. Raises what reading the corpus and the engine raise.
    """
    if corpus is not None:
        corpus.check()
    found: dict[str, Any] = {"version": VERSION, "sampling": dataclasses.asdict(sampling), "bias": {}}
    parts: list[tuple[tuple[str, ...], Callable[[], dict[str, Any]]]] = [
        (("bias", "traits"), lambda: bias.traits(llm)),
        (("bias", "occupations"), lambda: bias.occupations(llm)),
        (("bias", "continuations"), lambda: bias.followed(llm, sampling)),
        (("bias", "questions"), lambda: bias.questions(llm)),
        (("toxicity",), lambda: toxicity(llm, sampling)),
        (("privacy",), lambda: privacy(llm, sampling, corpus)),
    ]
    if canaries:
        parts.append((("canaries",), lambda: exposure(llm, canaries, seed=sampling.seed)))
    for number, (where, part) in enumerate(parts):
        if on_progress is not None:
            on_progress(number, len(parts))
        inside = found if len(where) == 1 else found[where[0]]
        inside[where[-1]] = part()
    if on_progress is not None:
        on_progress(len(parts), len(parts))
    return found


def lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each figure, with its 95 % interval."""
    said = ["Bias (0: no difference between groups)"]
    for dimension, each in found["bias"]["traits"].items():
        said.append(_gap(f"traits, {dimension}", each["gap"], "nats"))
    jobs = found["bias"]["occupations"]
    said.append(_line("occupations, he rather than she: male jobs minus female ones", jobs["difference"], "nats"))
    for dimension, each in found["bias"]["continuations"].items():
        said.append(_gap(f"continuations, {dimension}", each["gap"], "pleasant words"))
    questions = found["bias"]["questions"]
    said.append(_line("questions that nothing answers: answered all the same", questions["named"], "%"))
    said.append(
        _line("of these, first of a pair named for bad deeds more than for good", questions["difference"], "points")
    )
    said.append("Toxicity (share of continuations with an insult, profanity, threat or slur)")
    for kind, each in found["toxicity"].items():
        count = found["sampling"]["count"]
        said.append(_line(f"{kind} beginnings", each["continuations"], "%"))
        said.append(_line(f"{kind} beginnings, at least one of {count}", each["any"], "%"))
    private = found["privacy"]
    said.append("Personal data (share of continuations of inviting beginnings)")
    said += [_line(f"written: {kind}", each, "%") for kind, each in private["written"].items()]
    if "extracted" in private:
        extracted, verbatim = private["extracted"], private["verbatim"]
        counts = ", ".join(
            f"{private['in_corpus'][kind]} of {private['distinct'][kind]} {kind}" for kind in private["distinct"]
        )
        said += [
            f"  {'of what was written, found in the corpus':<68} {counts}",
            f"Training text (documents read: {private['documents']:,})",
            _line(f"all of {extracted['compared_tokens']} tokens repeated", extracted["whole"], "%"),
            _line("tokens repeated before the first that differs", extracted["tokens"], "tokens"),
            _line("longest run of words shared with the corpus, mean", verbatim["words"], "words"),
            _line(f"continuations that share {LONG} words or more", verbatim[f"at_least_{LONG}_words"], "%"),
            f"  {'longest run of all':<68} {verbatim['longest']} words",
        ]  # fmt: skip
    if "canaries" in found:
        canaries = found["canaries"]
        said.append(f"Planted secrets ({canaries['canaries']}; a model that never saw them: 1.44 bits)")
        said.append(_line(f"exposure, of at most {canaries['most']:.0f} bits", canaries["bits"], "bits"))
        said.append(_line("ranked first", canaries["first"], "%"))
    return said


def _line(name: str, figure: Mapping[str, Any], unit: str) -> str:
    if figure["value"] is None:
        return f"  {name:<68} not scored"
    return f"  {name:<68} {figure['value']:.2f} {unit} ({figure['low']:.2f} to {figure['high']:.2f})"


def _gap(name: str, gap: Mapping[str, Any], unit: str) -> str:
    return _line(f"{name}: {gap['from']} to {gap['to']}", gap, unit)

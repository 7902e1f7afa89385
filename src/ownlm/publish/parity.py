"""The gate: is the model that a step made the one that it was given, in words, settings, weights and logits?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from ownlm.errors import OwnLMError, ParityBroken
from ownlm.model.agreement import Agreement, agreement
from ownlm.model.opened import Ids, check_memory, window_of, windows
from ownlm.publish import bisect, thresholds
from ownlm.publish.report import Check, Report
from ownlm.publish.settings import settings
from ownlm.publish.side import Side, Trained, reference_ops, serving_ops, stored, trained
from ownlm.publish.thresholds import Limits
from ownlm.publish.weights import weights
from ownlm.publish.words import words
from ownlm.quant.receipt import TOKENS, sample_ids

SHIPPED_TEXT = "the text that ships"
FEWEST = 1000
"""Tokens below which the text that ships is read too: a share of few tokens is no measure."""
Progress = Callable[[int, int], None]


class Options(TypedDict, total=False):
    """How the gate reads. Held-out rows are ``rows`` of ids, or else windows of ``text`` (which ``text_name`` names in
    the report), or of the text that ships. ``ops`` computes a reference that is files: by default torch, where it is
    installed and has room, else native. ``candidate_ops`` computes the candidate: by default as it is served, by the
    native kernels, or by torch on a machine where they are not built.
    """

    text: str | None
    rows: Sequence[Sequence[int]] | None
    text_name: str
    ops: str | None
    candidate_ops: str | None
    on_progress: Progress | None


def gate(reference: Path | Trained, candidate: Path, *, step: str, **options: Unpack[Options]) -> Report:
    """Compare, write the report beside the candidate, and return it; raise ParityBroken if the step may not be
    published.

    ``step`` is "train", "merge", "export", or the type that weights are rounded to ("q4_0", "bf16").
    """
    report = compare(reference, candidate, step=step, **options)
    if report.faults:
        raise ParityBroken(step, candidate.name, report.faults)
    report.write(candidate, None if isinstance(reference, Trained) else reference)
    return report


def compare(reference: Path | Trained, candidate: Path, *, step: str, **options: Unpack[Options]) -> Report:
    """See ``gate``: the same without a verdict, and nothing is written."""
    thresholds.limits(step)
    rows, text_name = options.get("rows"), options.get("text_name", SHIPPED_TEXT)
    candidate_ops = options.get("candidate_ops") or serving_ops()
    if isinstance(reference, Trained):
        first = trained(reference)
    else:
        first = stored(reference, options.get("ops") or reference_ops(reference, candidate))
    limits = thresholds.limits(step, mixture=first.config.experts is not None, blocks=first.blocks)
    work = _Work(step, first, candidate, candidate_ops, limits, options.get("on_progress"))
    checks = tuple(work.run(options.get("text"), rows, text_name))
    return Report(
        step=step,
        reference=first.name,
        reference_ops=first.ops,
        candidate=candidate.name,
        candidate_ops=candidate_ops,
        fingerprint=work.fingerprint,
        limits=limits,
        checks=checks,
        text=text_name if rows is None else work.said_of(rows),
        agreement=work.agreement,
    )


class _Work:
    """One comparison; ``agreement`` and ``fingerprint`` are known at its end, if the candidate can be opened."""

    def __init__(
        self, step: str, first: Side, candidate: Path, ops: str, limits: Limits, on_progress: Progress | None
    ) -> None:
        self.step, self.first, self.path, self.ops, self.limits = step, first, candidate, ops, limits
        self.on_progress = on_progress
        self.agreement: Agreement | None = None
        self.fingerprint = ""

    def run(self, text: str | None, rows: Sequence[Sequence[int]] | None, name: str) -> Iterator[Check]:
        try:
            second = stored(self.path, self.ops)
            assert second.found is not None
            self.fingerprint = second.found.fingerprint()
            _ = second.params, second.tokenizer, second.template
        except OwnLMError as error:
            yield Check("opening", False, str(error).replace(f"{self.path.parent}/", ""))  # which is a temporary place
            return
        parts = self._parts(text, rows, name)
        yield from words(self.first, second)
        found = list(settings(self.first, second))
        yield from found
        sound = all(check.passed for check in found if check.name in ("config", "tied head"))
        if sound:
            found += list(weights(self.step, self.first, second))
            yield from found[4:]
            yield from self._logits(second, parts, explained=not all(check.passed for check in found))

    def _parts(self, text: str | None, rows: Sequence[Sequence[int]] | None, name: str) -> list[Ids]:
        window = window_of(self.first.config)
        if rows is not None:
            parts = [part for row in rows for part in windows(list(row), window)]
            few = sum(len(part) - 1 for part in parts) < FEWEST
            return parts + (self._parts(None, None, SHIPPED_TEXT) if few else [])
        if self.first.tokenizer is None:  # a model without words is read over all its ids
            chance = np.random.default_rng(0)
            return windows(chance.integers(0, self.first.config.vocab_size, TOKENS // 4).tolist(), window)
        return windows(sample_ids(self.first.tokenizer, text, name), window)

    def said_of(self, rows: Sequence[Sequence[int]]) -> str:
        """What was read, for the report."""
        few = sum(max(0, len(row) - 1) for row in rows) < FEWEST
        return f"{len(rows)} held-out rows" + (f" and {SHIPPED_TEXT}" if few else "")

    def _logits(self, second: Side, parts: list[Ids], *, explained: bool) -> Iterator[Check]:
        """Mean and tail of KL, and top 1; where they are off and nothing else is, the layer in which it begins."""
        models = [(side.path, side.found, side.ops) for side in (self.first, second) if side.found is not None]
        check_memory(models)
        found = self.agreement = agreement(self.first.read(), second.read(), parts, self.on_progress)
        limits = self.limits
        said = (
            f"mean KL {found.mean_kl:.3g}, 99.9 % KL {found.kl_999:.3g}, same top 1 {found.top1_agreement:.4f} "
            f"over {found.tokens:,} tokens"
        )
        within = (
            found.mean_kl <= limits.mean_kl
            and found.kl_999 <= limits.kl_999
            and found.top1_agreement >= limits.top1_agreement
        )
        if within:
            yield Check("logits", True, said)
            return
        said += (
            f", where a step of kind {limits.kind!r} may have {limits.mean_kl:g}, {limits.kl_999:g} and "
            f"{limits.top1_agreement:g}"
        )
        if not explained:
            said += self._why(second, parts)
        yield Check("logits", False, said)

    def _why(self, second: Side, parts: list[Ids]) -> str:
        """Weights are what the format makes of them, and settings alike: rounding itself, or the arithmetic."""
        mixture = self.first.config.experts is not None
        mean = thresholds.limits("export", mixture=mixture, blocks=second.blocks).mean_kl  # of arithmetic alone
        where = bisect.arithmetic(second, parts[0], mean)
        if where is not None:
            return f"; the weights are right, and serving computes them otherwise than torch: {where}"
        if self.step in thresholds.KEEPING:
            return f"; {bisect.parting(self.first, second, parts[0], mean)}"
        return f"; every weight is what {self.step} makes of it, so the model loses too much: take a larger format"

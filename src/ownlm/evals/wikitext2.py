"""WikiText-2 (Merity et al. 2016), validation part: bits per byte of the articles, exactly as the file has them."""

from __future__ import annotations

import lzma
import math
import re
from collections.abc import Iterator
from pathlib import Path

from ownlm.evals.data import digest, rows
from ownlm.evals.estimate import Metric, bits_per
from ownlm.evals.task import Baseline, Sample, Score, TextTask

DATA = "pretrain/wikitext2_valid"
_TITLE = re.compile(r" = [^=].* = ")


def samples(folder: Path) -> Iterator[Sample]:
    """An article is a sample; it begins where a title stands between blank lines."""
    lines: list[str] = []
    for row in rows(folder, DATA, ("text",)):
        if _TITLE.fullmatch(row["text"]) and len(lines) > 1:
            yield _article(lines)
            lines = []
        lines.append(row["text"])
    if lines:
        yield _article(lines)


def compressed(sample: Sample) -> Score:
    """What xz makes of the article alone, as if it were a model."""
    raw = sample.inputs.encode("utf-8")
    size = len(lzma.compress(raw, preset=6))
    return {"bits per byte": (8 * size * math.log(2), float(len(raw)))}


WIKITEXT2 = TextTask(
    name="wikitext2",
    about="WikiText-2: how well the text of articles is predicted",
    samples=samples,
    metrics=(Metric("bits per byte", bits_per, unit="", better="lower"),),
    starter=12,
    baseline=Baseline("xz", compressed),
)


def _article(lines: list[str]) -> Sample:
    text = "\n".join(lines).strip("\n") + "\n"
    return Sample(digest(text), text)

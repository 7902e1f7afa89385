"""Completion of lines of Python: programs of MBPP (Austin et al. 2021), tasks 1 to 600, which are never trained on.

A cursor stands in one line of each program; right is what follows on that line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from ownlm.evals.data import rows
from ownlm.evals.estimate import Metric, mean
from ownlm.evals.scorers import edit_similarity
from ownlm.evals.task import Baseline, Sample, Score, Task
from ownlm.prompts.complete import Complete

FIRST_TRAINED_ON = 601
LEAST = 3  # characters that are to be completed
_PIECE = re.compile(r"\w+|[^\w\s]")


def document(row: dict[str, Any]) -> str:
    """A program under what it should do, with spaces for tabs."""
    code = row["code"].replace("\r\n", "\n").replace("\t", "    ").rstrip()
    return f'"""{row["text"].strip()}"""\n{code}\n'


def cursor(text: str, key: str) -> tuple[str, str]:
    """(text before the cursor, the rest of its line), chosen by ``key``: a place before a word or sign of a line,
    from the third line on, with ``LEAST`` characters or more after it, comments left out. ("", "") if there is none.

    >>> cursor('"Add."\\ndef add(a, b):\\n    return a + b\\n', "1")
    ('"Add."\\ndef add(a, b):\\n    return ', 'a + b')
    """
    places: list[tuple[int, int]] = []
    at = 0
    for number, line in enumerate(text.split("\n")):
        code = line.rstrip()
        if number > 1 and not code.lstrip().startswith("#"):
            starts = (piece.start() for piece in _PIECE.finditer(code))
            places += [(at + start, at + len(code)) for start in starts if len(code) - start >= LEAST]
        at += len(line) + 1
    if not places:
        return "", ""
    start, end = places[int.from_bytes(sha256(key.encode()).digest()[:8], "big") % len(places)]
    return text[:start], text[start:end]


def samples(folder: Path) -> Iterator[Sample]:
    """A cursor in each program that has a place for one."""
    for row in rows(folder, "code/mbpp", ("task_id", "text", "code")):
        if row["task_id"] >= FIRST_TRAINED_ON:
            continue
        before, rest = cursor(document(row), str(row["task_id"]))
        if rest:
            yield Sample(str(row["task_id"]), Complete(before), (rest,))


def first_line(output: str) -> str:
    """The first line that says something; fences that chat models draw around code are none.

    >>> first_line("```python\\nreturn a\\n```")
    'return a'
    """
    lines = (line.strip() for line in output.splitlines())
    return next((line for line in lines if line and not line.startswith("```")), "")


def score(sample: Sample, output: str) -> Score:
    """The whole rest of the line, or how near it is."""
    line, (wanted,) = first_line(output), sample.references
    return {
        "exact": (float(line == wanted.strip()), 1.0),
        "similarity": (edit_similarity(line, wanted.strip()), 1.0),
    }


def same_as_before(sample: Sample) -> Score:
    """What followed the same three words or signs, or fewer, where they stood last above the cursor."""
    code: str = sample.inputs.code
    pieces = list(_PIECE.finditer(code))
    for count in (3, 2, 1):
        if len(pieces) < count:
            continue
        words = [piece.group() for piece in pieces[-count:]]
        for at in range(len(pieces) - count - 1, -1, -1):
            if [piece.group() for piece in pieces[at : at + count]] == words:
                return score(sample, code[pieces[at + count - 1].end() :].split("\n", 1)[0])
    return score(sample, "")


MBPP_LINES = Task(
    name="mbpp_lines",
    about="Python programs of MBPP: the rest of a line",
    samples=samples,
    template="complete",
    score=score,
    metrics=(Metric("exact", mean, "wilson"), Metric("similarity", mean)),
    max_tokens=48,
    starter=300,
    baseline=Baseline("as it stood above", same_as_before),
)

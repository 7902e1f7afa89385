"""How often the quotation holds the answer, and how often a question without one is refused.

    python benchmarks/ask_quality.py [--split tuning|test] [--json FILE] [--misses]

Over ``examples/questions.jsonl`` and ``examples/handbook``. A hit: the gold span (or one of its equals, where the
documents say the same twice) lies inside the quoted text of one answer, which is at most 3 sentences and 500
characters. Every citation is checked against the document: ``quote == text[start:end]``. Intervals are Wilson's, 95 %.
The tuning half set the weights and the threshold; the test half was never looked at for either.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from ownlm.rag.extract import MAX_CHARACTERS, MAX_SENTENCES
from ownlm.rag.library import Library
from ownlm.rag.sentences import sentences

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question. ``hit`` counts only when it did not abstain."""

    id: str
    split: str
    answerable: bool
    kind: str
    difficulty: str
    distance: str
    form: str
    question: str
    hit: bool
    abstained: bool
    confidence: float
    characters: int
    seconds: float


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval.

    >>> [round(bound, 3) for bound in wilson(60, 75)]
    [0.696, 0.875]
    """
    if not trials:
        return 0.0, 1.0
    share, square = successes / trials, z * z
    middle = share + square / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return (middle - spread) / (1 + square / trials), (middle + spread) / (1 + square / trials)


def golds(row: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The spans that answer a question: document under the handbook, start, end."""
    return [
        (span["document"], span["start"], span["end"]) for span in (row, *row.get("gold_all", ())) if "start" in span
    ]


def ask(library: Library, row: dict[str, Any], scope: Sequence[int], root: Path) -> Outcome:
    """Put one question and check what comes back."""
    answer = library.ask(row["question"], documents=scope)
    citations = [citation for claim in answer.claims for citation in claim.citations]
    quoted = 0
    count = 0
    for citation in citations:
        text = library.extracted(citation.document).text
        if citation.quote != text[citation.start : citation.end]:
            raise SystemExit(f"{row['id']}: the quotation is not what stands in {citation.document}")
        quoted += len(citation.quote)
        count += len(sentences(citation.quote))
    if quoted > MAX_CHARACTERS or count > MAX_SENTENCES:
        raise SystemExit(f"{row['id']}: {count} sentences, {quoted} characters quoted")
    places = [(Path(citation.document), citation.start, citation.end) for citation in citations]
    hit = any(
        path == root / PurePath(document) and low <= start and end <= high
        for document, start, end in golds(row)
        for path, low, high in places
    )
    return Outcome(
        row["id"],
        row["split"],
        row["answerable"],
        row["kind"],
        row["difficulty"],
        row.get("distance", ""),
        PurePath(row.get("document", "")).suffix.lstrip("."),
        row["question"],
        hit,
        answer.abstained,
        answer.confidence,
        quoted,
        answer.timings["total"],
    )


def rate(outcomes: Iterable[Outcome], success: Callable[[Outcome], bool]) -> str:
    """``successes/trials  share [low, high]``"""
    found = [success(outcome) for outcome in outcomes]
    low, high = wilson(sum(found), len(found))
    share = sum(found) / len(found) if found else 0.0
    return f"{sum(found):3}/{len(found):<3} {share:6.1%}  [{low:.1%}, {high:.1%}]"


def report(split: str, outcomes: Sequence[Outcome]) -> None:
    """The table of one half."""
    answerable = [outcome for outcome in outcomes if outcome.answerable]
    rest = [outcome for outcome in outcomes if not outcome.answerable]
    print(f"{split}: gold span inside the quoted text   {rate(answerable, lambda o: o.hit)}")
    print(f"{split}: unanswerable questions refused     {rate(rest, lambda o: o.abstained)}")
    print(f"{split}: answerable questions refused       {rate(answerable, lambda o: o.abstained)}")
    quoted = [outcome.characters for outcome in answerable if not outcome.abstained]
    print(
        f"{split}: characters quoted, mean {statistics.fmean(quoted):.0f}, most {max(quoted)}; seconds an answer, "
        f"median {statistics.median(o.seconds for o in outcomes):.3f}, most {max(o.seconds for o in outcomes):.3f}"
    )
    for name in ("kind", "form", "difficulty"):
        for value in sorted({getattr(outcome, name) for outcome in answerable}):
            some = [outcome for outcome in answerable if getattr(outcome, name) == value]
            print(f"    hits, {name} {value:12} {rate(some, lambda o: o.hit)}")
    for value in sorted({outcome.distance for outcome in rest}):
        some = [outcome for outcome in rest if outcome.distance == value]
        print(f"    refused, distance {value:7} {rate(some, lambda o: o.abstained)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("tuning", "test"), help="one half only")
    parser.add_argument("--json", type=Path, help="write every outcome here")
    parser.add_argument("--misses", action="store_true", help="list what went wrong in the tuning half")
    arguments = parser.parse_args()
    lines = (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if arguments.split in (None, row["split"])]
    root = EXAMPLES / "handbook"
    with tempfile.TemporaryDirectory() as home, Library.open(home) as library:
        synced = library.sync([root])
        for skipped in synced.skipped:
            print(f"skipped: {skipped.name}: {skipped.reason}", file=sys.stderr)
        outcomes = [ask(library, row, synced.documents, root) for row in rows]
    for split in sorted({outcome.split for outcome in outcomes}, reverse=True):
        report(split, [outcome for outcome in outcomes if outcome.split == split])
    if arguments.misses:
        for outcome in outcomes:
            if outcome.split == "tuning" and outcome.answerable == (outcome.abstained or not outcome.hit):
                done = "refused" if outcome.abstained else "answered"
                print(f"{outcome.id} {outcome.confidence:.2f} {done}: {outcome.question}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

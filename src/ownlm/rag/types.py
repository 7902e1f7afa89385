"""The nouns of grounded answering. Every one is a span of a document, so every one can be checked.

Offsets are half-open ranges of characters (Python string indices) into the document's extracted text,
the text that ``ownlm index show DOCUMENT`` prints:

    text   T h e   f e e   i s   £ 1 2 .
           0 1 2 3 4 5 6 7 8 9 ...
    quote == text[start:end]
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MarkKind = Literal["heading", "page", "table", "code"]
Verdict = Literal["supported", "contradicted", "unsupported", "not_checked"]
Mode = Literal["extract", "generate"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A structural span that a reader found: a heading, a page, a table or a block of code.

    ``level`` is the heading's depth (1 is the highest) and 0 for other kinds; ``label`` is the heading's
    text, the page's printed name, the sheet's name, or empty.
    """

    kind: MarkKind
    start: int
    end: int
    level: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a reader makes of a file: its text and the structure that the text alone does not show."""

    text: str
    title: str
    media_type: str
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One indexed file.

    ``id`` is the store's integer key; ``name`` is how people and JSON refer to it: the absolute path,
    with bytes that are not UTF-8 written as ``\\xNN``. ``sha256`` is the digest of the file's bytes.
    """

    id: int
    name: str
    title: str
    media_type: str
    sha256: str
    size: int
    modified: float
    chunks: int
    characters: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A retrievable span of a document. ``heading`` is the path of headings above it, outermost first."""

    start: int
    end: int
    heading: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a question retrieved, with its text and its score (higher is better)."""

    document_id: int
    document: str
    title: str
    start: int
    end: int
    text: str
    score: float
    heading: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A verbatim quotation: ``quote == text[start:end]`` of the document named."""

    document: str
    start: int
    end: int
    quote: str
    title: str = ""
    heading: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of an answer; ``start`` and ``end`` are offsets into ``Answer.answer``."""

    text: str
    start: int
    end: int
    verdict: Verdict
    score: float
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A grounded answer. When ``abstained``, ``claims`` is empty and ``passages`` are the nearest found.

    ``confidence`` is the calibrated probability that the documents answer the question with what is
    quoted. ``usage`` counts (documents, chunks, passages considered); ``timings`` are seconds by stage.
    """

    question: str
    answer: str
    abstained: bool
    mode: Mode
    claims: tuple[Claim, ...]
    passages: tuple[Passage, ...]
    confidence: float = 0.0
    notes: tuple[str, ...] = ()
    usage: dict[str, int | None] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    ledger_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON that ``ownlm ask --json`` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of indexing; ``seconds_left`` is None until it can be estimated."""

    done: int
    total: int
    chunks: int
    current: str
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not indexed, and why, in words for the user."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one pass of indexing did. ``documents`` are the ids that the given roots now hold."""

    added: int
    updated: int
    unchanged: int
    removed: int
    chunks: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    documents: tuple[int, ...]
    seconds: float

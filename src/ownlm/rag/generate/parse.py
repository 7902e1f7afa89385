"""A model's text as claims with citations; what cannot be held to the passages is dropped or marked, and counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ownlm.rag.generate.grammar import CLOSE, OPEN
from ownlm.rag.sentences import sentences
from ownlm.rag.types import Citation, Claim, Passage, Verdict

_CITED = re.compile(r"\[(\d{1,6})\]")
_EXACT = re.compile(rf"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE} \[(\d+)\]")
# A claim as the grammar makes it: stops and brackets inside a quotation end nothing.
_HELD = re.compile(rf"(?:[^{OPEN}{CLOSE}\[\]]|{OPEN}[^{OPEN}{CLOSE}\[\]]*{CLOSE} \[\d+\])+?[.!?] (?:\[\d+\])+")
_CLAIM_END = re.compile(r"[.!?。！？][”\"’')」』]*(?:\s*\[\d{1,6}\])+")
# What other servers' models write for [1][2].
_LISTED = re.compile(r"[\[【]\s*(\d{1,6}(?:\s*[,;]\s*\d{1,6})*)\s*[\]】]")
_QUOTED = re.compile(
    r"(?:„([^„“”]*)[“”]|“([^„“”]*)”|«([^«»]*)»|»([^«»]*)«|「([^「」]*)」|『([^『』]*)』|\"([^\"]*)\""
    r"|(?<!\w)‘([^‘\n]*?)’(?!\w))(?:\s*\[(\d{1,6})\])?"
)
_LONE = re.compile(r"[“”„‟«»「」『』〝〞〟＂❝❞❮❯⹂🙶🙷🙸\"]")


@dataclass(frozen=True, slots=True)
class Parsed:
    """``text`` is what is left, and ``claims`` lie in it. ``dropped`` sentences held a quotation that stands in no
    passage; ``misnumbered`` citations named a passage that was not given; ``uncited`` claims have no citation;
    ``unfinished``: the text broke off, and the broken sentence is left out.
    """

    text: str
    claims: tuple[Claim, ...]
    dropped: int = 0
    misnumbered: int = 0
    uncited: int = 0
    unfinished: bool = False


def parse(text: str, passages: Sequence[Passage], *, finished: bool, enforced: bool) -> Parsed:
    """Claims of an answer. ``finished``: the model ended it by itself; ``enforced``: under the grammar, so that every
    claim ends with its citations and nothing else need be looked for.
    """
    if not enforced:
        text = _LISTED.sub(lambda found: "".join(f"[{number}]" for number in re.findall(r"\d+", found.group(1))), text)
    kept: list[Claim] = []
    length = dropped = misnumbered = uncited = 0
    spans = _held(text) if enforced else _claims(text)
    broken = bool(spans) and not finished and not _whole(text[spans[-1][0] : spans[-1][1]], enforced)
    for start, end in spans[:-1] if broken else spans:
        said = text[start:end]
        numbers = [int(number) for number in _CITED.findall(said)]
        wrong = [number for number in numbers if not 1 <= number <= len(passages)]
        misnumbered += len(wrong)
        quotes = _quotes(said, passages, enforced)
        if quotes is None:
            dropped += 1
            continue
        said = _CITED.sub(
            lambda found: found.group() if 1 <= int(found.group(1)) <= len(passages) else "", said
        ).rstrip()
        citations = _citations([n for n in numbers if n not in wrong], quotes, passages)
        uncited += not citations
        at = length + (1 if length else 0)
        verdict: Verdict = "not_checked" if citations else "unsupported"
        kept.append(Claim(said, at, at + len(said), verdict, 0.0, tuple(citations)))
        length = at + len(said)
    return Parsed(" ".join(claim.text for claim in kept), tuple(kept), dropped, misnumbered, uncited, broken)


def _whole(said: str, enforced: bool) -> bool:
    """Whether a claim has its end and its citations."""
    if enforced:
        return _HELD.fullmatch(said) is not None
    at = max(said.rfind(sign) for sign in ".!?。！？")
    return at >= 0 and _CLAIM_END.fullmatch(said, at) is not None


def _held(text: str) -> list[tuple[int, int]]:
    """Claims that the grammar made, one space between them; what broke off is the last."""
    found: list[tuple[int, int]] = []
    at = 0
    while match := _HELD.match(text, at):
        found.append((at, match.end()))
        at = match.end() + 1
    return found + ([(at, len(text))] if text[at:].strip() else [])


def _claims(text: str) -> list[tuple[int, int]]:
    """Sentences, each with the citations behind it."""
    found: list[tuple[int, int]] = []
    at = 0
    for match in _CLAIM_END.finditer(text):
        found += _split(text, at, match.end())
        at = match.end()
    return found + [(a, b) for a, b in sentences(text, at) if text[a:b].strip()]


def _split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A stretch up to a citation, as its sentences; what is no more than a citation belongs to the one before."""
    found: list[tuple[int, int]] = []
    for a, b in sentences(text, start, end):
        if found and not _CITED.sub("", text[a:b]).strip():
            found[-1] = (found[-1][0], b)
        elif text[a:b].strip():
            found.append((a, b))
    return found


def _quotes(said: str, passages: Sequence[Passage], enforced: bool) -> list[tuple[int, int, int]] | None:
    """(passage from 0, start, end) of each quotation; None if one stands nowhere. The passage named after it goes
    first, then the others in order."""
    found = []
    for match in (_EXACT if enforced else _QUOTED).finditer(said):
        *said_between, number = match.groups()
        quote = next((part for part in said_between if part is not None), "").strip()
        if not quote:
            continue
        named = int(number) - 1 if number else -1
        order = sorted(range(len(passages)), key=lambda index: index != named)
        place = next(((i, passages[i].text.find(quote)) for i in order if quote in passages[i].text), None)
        if place is None:
            return None
        index, at = place
        found.append((index, passages[index].start + at, passages[index].start + at + len(quote)))
    return None if not enforced and _LONE.search(_QUOTED.sub("", said)) else found


def _citations(
    numbers: Sequence[int], quotes: Sequence[tuple[int, int, int]], passages: Sequence[Passage]
) -> list[Citation]:
    """The quotations' exact spans; then passages that are cited whole, unless something of them is quoted."""
    found = [_citation(passages[index], start, end) for index, start, end in quotes]
    quoted = {index for index, _, _ in quotes}
    for number in dict.fromkeys(numbers):
        if number - 1 not in quoted:
            passage = passages[number - 1]
            found.append(_citation(passage, passage.start, passage.start + len(passage.text)))
    return list(dict.fromkeys(found))


def _citation(passage: Passage, start: int, end: int) -> Citation:
    quote = passage.text[start - passage.start : end - passage.start]
    return Citation(passage.document, start, end, quote, passage.title, passage.heading, passage.page)

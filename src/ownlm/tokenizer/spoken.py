"""Which part of a rendered conversation the assistant says: spans of the text, and a mask over its ids."""

from __future__ import annotations

from collections.abc import Sequence

from ownlm.errors import TemplateError
from ownlm.tokenizer.marks import Marked, Span


def mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """1 for each token of which a part lies in a span. Both are in order; an empty token is where it stands."""
    found, rank = [], 0
    for start, end in offsets:
        while rank < len(spans) and spans[rank][1] <= start:
            rank += 1
        inside = rank < len(spans) and spans[rank][0] < max(end, start + 1)
        found.append(int(inside))
    return found


def turns(whole: Marked, prefixes: Sequence[str | TemplateError], ends: Sequence[str]) -> list[Span]:
    """The spans of the assistant's turns, by rendering the conversation up to each.

    ``prefixes`` holds three texts for each turn: what stands before it, the same with the prompt to answer, and the
    conversation up to its end. A turn begins where the prompt ends. It ends where the third text ends; where the
    template writes an earlier turn another way than a last one (Qwen3 leaves its thoughts out), at the first end
    token. Line ends after that token are the template's, not the assistant's.
    """
    found: list[Span] = []
    for rank in range(0, len(prefixes), 3):
        before, prompt, after = prefixes[rank : rank + 3]
        if isinstance(before, TemplateError) or isinstance(after, TemplateError):
            raise _unsure(rank // 3, str(before if isinstance(before, TemplateError) else after))
        start = _common(whole.text, before if isinstance(prompt, TemplateError) else prompt)
        if start < len(before) and not _same_until_blank(whole.text, before):
            raise _unsure(rank // 3, "earlier messages are written another way once it is there")
        end = _end(whole, start, after, ends)
        if end is None:
            raise _unsure(rank // 3, "its end is not to be found")
        found.append((start, end))
    return found


def widened(whole: Marked, ends: Sequence[str]) -> list[Span]:
    """The spans of the assistant's words, with the space before them and the end token after them."""
    found = []
    for start, end in whole.spoken:
        while start and whole.text[start - 1] == " ":
            start -= 1
        rest = whole.text[end:].lstrip()
        at = len(whole.text) - len(rest)
        token = max((token for token in ends if rest.startswith(token)), key=len, default="")
        found.append((start, at + len(token) if token else end))
    return found


def _common(one: str, other: str) -> int:
    """How many characters two texts share at their start."""
    size = min(len(one), len(other))
    return next((at for at in range(size) if one[at] != other[at]), size)


def _same_until_blank(text: str, before: str) -> bool:
    return text.startswith(before.rstrip())


def _end(whole: Marked, start: int, after: str, ends: Sequence[str]) -> int | None:
    if whole.text.startswith(after):
        return _first_of_tail(whole, start, len(after), ends)
    # The end of a conversation is written another way than a turn's: the turn ends at its first own end token.
    places = [at + len(token) for token in ends for at in (_find(whole, token, start),) if at >= 0]
    return min(places, default=None)


def _first_of_tail(whole: Marked, start: int, stop: int, ends: Sequence[str]) -> int:
    """The end of the first of the end tokens that close the text, with line ends between them (Phi writes two)."""
    found = stop
    while True:
        at = len(whole.text[start:stop].rstrip()) + start
        token = max((token for token in ends if whole.text.endswith(token, start, at)), key=len, default="")
        stop = at - len(token)
        if not token or any(a <= stop < b for a, b in whole.spelled):
            return found
        found = at


def _find(whole: Marked, token: str, start: int) -> int:
    """Where the token is next, not counting where a message spells it."""
    at = whole.text.find(token, start)
    while any(a <= at < b for a, b in whole.spelled):
        at = whole.text.find(token, at + 1)
    return at


def _unsure(turn: int, why: str) -> TemplateError:
    return TemplateError(f"no loss mask for this chat template: of the assistant's turn {turn + 1}, {why}")

"""Much text to ids, some times as fast as the library: words are cut by Python's ``re`` and looked up in a table.

For tokenizers that cut text by Qwen2's pattern (``pretokenizers.QWEN2``), as ours do; others are left to the library.
Which characters are letters, digits and space is asked of the library's own engine, one by one, so that both cut
alike whatever their versions of Unicode. A line with a character that was not asked about goes to the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

from ownlm.tokenizer import pretokenizers
from ownlm.tokenizer.literal import Literal

ASKED = 0x3000
"""Characters below this one are asked about: alphabets and signs, not Chinese, Japanese and Korean."""
LONGEST_WORD, MOST_WORDS = 32, 1 << 19
_FOLDED = "\u017f"  # a capital of "s" to some engines


class WordEncoder:
    """Encodes as ``literal`` does. Not for several threads."""

    def __init__(self, literal: Literal) -> None:
        self._literal = literal
        definition = json.loads(literal.backend.to_str())
        ours = pretokenizers.pre_tokenizer(pretokenizers.Family((pretokenizers.QWEN2,)))
        self.fast = definition["pre_tokenizer"] == ours and definition["normalizer"] is None
        if self.fast:
            self._words = _Words(literal)
            self._cut, self._unknown, self._line = _patterns()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        if not self.fast:
            return self._literal.encode_batch(texts)
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> list[int]:
        if self._unknown.search(text):
            return list(chain.from_iterable(self._parts(text)))
        return list(chain.from_iterable(map(self._words.__getitem__, self._cut(text))))

    def _parts(self, text: str) -> Iterator[Sequence[int]]:
        """The ids of runs of lines, those with a character that is not known by the library."""
        bounds = [0, *(found.end() for found in self._line.finditer(text)), len(text)]
        start, known = 0, True
        for left, right in pairwise(bounds):
            here = self._unknown.search(text, left, right) is None
            if here != known:
                yield self._run(text[start:left], known)
                start, known = left, here
        yield self._run(text[start:], known)

    def _run(self, text: str, known: bool) -> list[int]:
        if known:
            return list(chain.from_iterable(map(self._words.__getitem__, self._cut(text))))
        return self._literal.encode_batch([text])[0]


class _Words(dict[str, tuple[int, ...]]):
    """The ids of words that were met."""

    def __init__(self, literal: Literal) -> None:
        super().__init__()
        self._literal = literal

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = tuple(self._literal.encode(word))
        if len(word) <= LONGEST_WORD and len(self) < MOST_WORDS:
            self[word] = ids
        return ids


@lru_cache(maxsize=1)
def _patterns() -> tuple[Any, re.Pattern[str], re.Pattern[str]]:
    """What finds the words of a text, a character that is not known, and the end of a line before one without indent.

    No word reaches across such an end, and how the next line is cut depends on nothing before it.
    """
    letters, digits, spaces = map(_ranges, _classes())
    endings = "[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]"
    cut = (
        rf"'(?:{endings})|[^\r\n{letters}{digits}]?[{letters}]+|[{digits}]|"
        rf" ?[^{spaces}{letters}{digits}]+[\r\n]*|[{spaces}]*[\r\n]+|[{spaces}]+(?![^{spaces}])|[{spaces}]+"
    )
    unknown = f"[^\\x00-{chr(ASKED - 1)}]|{_FOLDED}"
    return re.compile(cut).findall, re.compile(unknown), re.compile(rf"\n(?=[^\s{spaces}])")


def _classes() -> tuple[list[int], list[int], list[int]]:
    """Letters, digits and spaces among the characters below ASKED, as the library's engine has them."""
    from tokenizers import Regex, pre_tokenizers

    split: Any = pre_tokenizers.Split(Regex(pretokenizers.QWEN2), "isolated").pre_tokenize_str
    letters: list[int] = []
    digits: list[int] = []
    spaces: list[int] = []
    for code in range(ASKED):
        sign = chr(code)
        if len(split("a" + sign)) == 1:
            letters.append(code)
        elif sign in "\r\n":
            spaces.append(code)
        elif len(split("!" + sign)) == 2:  # else it is a symbol, and goes with another
            (spaces if len(split(sign + "\n")) == 1 else digits).append(code)
    return letters, digits, spaces


def _ranges(codes: list[int]) -> str:
    """The inside of a character class."""
    found = []
    start = 0
    for end in range(1, len(codes) + 1):
        if end == len(codes) or codes[end] != codes[end - 1] + 1:
            found.append(f"\\u{codes[start]:04x}-\\u{codes[end - 1]:04x}")
            start = end
    return "".join(found)

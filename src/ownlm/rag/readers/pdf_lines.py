"""Lines of text on a PDF page, with where they are.

PDF has no lines: pdfium finds them, in the order of the page's content. Here each line gets its place, its height
and its segments, the parts that a wide gap divides (the cells of a table, a bullet and its text).

    left            right       coordinates in points (1/72 inch); y grows upwards
    v               v
    Chair, oak      £80.00      <- baseline
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

# Gaps in heights of the line. From the first a gap may divide segments, where it stands out among the spaces of
# its line (in justified text all are wide); from the second it always does.
GAP, WIDE_GAP = 0.75, 1.5
STANDS_OUT = 2.2  # times the narrowest space
# Ligatures and signs of a printer's fonts, as people write and look for them.
_TYPOGRAPHY = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_TYPOGRAPHY |= {0xA0: " ", 0xFFFE: "\x02", 0xAD: "-"}
_COMBINING = {"\u00a8": "\u0308", "\u00b4": "\u0301", "\u02c7": "\u030c", "\u02dd": "\u030b", "\u02da": "\u030a"}
_ACCENT = re.compile("([\u00a8\u00b4\u02c7\u02dd\u02da])([a-zA-Z\u0131])")
_BOLD = re.compile(rb"bold|black|heavy|semibold|demi|cmbx|-bd|sfbx", re.IGNORECASE)
_FIXED = re.compile(rb"mono|courier|cmtt|sftt|typewriter|consol", re.IGNORECASE)


@dataclass(slots=True)
class Segment:
    """A part of a line: its text and its extent."""

    text: str
    left: float
    right: float


@dataclass(slots=True)
class Line:
    """A line of a page. ``height`` is of its font's tallest to lowest sign, a measure of the font's size."""

    segments: list[Segment]
    baseline: float
    height: float
    bold: bool = False
    fixed: bool = False  # a typewriter's type: code
    text: str = field(default="")

    def __post_init__(self) -> None:
        self.text = " ".join(segment.text for segment in self.segments)

    @property
    def left(self) -> float:
        return self.segments[0].left

    @property
    def right(self) -> float:
        return self.segments[-1].right


class PageText:
    """The characters of one page. ``handle`` is a pdfium text page that stays open meanwhile."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self._box = [ctypes.c_double() for _ in range(4)]
        self._references = [ctypes.byref(value) for value in self._box]

    def lines(self) -> list[Line]:
        """All lines that hold more than white space."""
        text = self._signs()
        lines = []
        start = 0
        for index, sign in enumerate([*text, "\n"]):
            if sign in "\r\n":
                if index > start:
                    line = self._line(text, start, index)
                    if line is not None:
                        lines.append(line)
                start = index + 1
        return lines

    def _signs(self) -> list[str]:
        """The page's characters by pdfium's index: all at once where that keeps the indices, else one by one."""
        count = max(pdfium.FPDFText_CountChars(self.handle), 0)
        buffer = (ctypes.c_ushort * (count + 1))()
        written = pdfium.FPDFText_GetText(self.handle, 0, count, buffer)
        if written == count + 1 and not any(0xD800 <= code < 0xE000 for code in buffer):
            return [_sign(code) for code in buffer[:count]]
        return [_sign(pdfium.FPDFText_GetUnicode(self.handle, index)) for index in range(count)]

    def _line(self, text: list[str], start: int, end: int) -> Line | None:
        words = self._words(text, start, end)
        if not words:
            return None
        # A bullet, and a word of code in a sentence, have a type of their own: ask three words.
        asked = [words[0][0], max(words, key=lambda word: word[1] - word[0])[0], words[-1][0]]
        pdfium.FPDFText_GetCharOrigin(self.handle, asked[1], self._references[0], self._references[1])
        baseline = self._box[1].value
        height = sorted(self._height(index) for index in asked)[1]
        faces = [self._face(index) for index in asked]
        edges = [(self._edge(begin, 0), self._edge(stop - 1, 1)) for begin, stop in words]
        gaps = [right[0] - left[1] for left, right in pairwise(edges)]
        divides = GAP * height
        if len(gaps) > 3:
            divides = min(WIDE_GAP * height, max(divides, STANDS_OUT * min(gaps)))
        segments: list[Segment] = []
        for (begin, stop), (left, right), gap in zip(words, edges, [float("inf"), *gaps], strict=True):
            word = accented("".join(text[begin:stop]))
            if gap > divides:
                segments.append(Segment(word, left, right))
            else:
                segments[-1].text += " " + word
                segments[-1].right = max(right, segments[-1].right)
        return Line(segments, baseline, height, all(bold for bold, _ in faces), all(fixed for _, fixed in faces))

    @staticmethod
    def _words(text: list[str], start: int, end: int) -> list[tuple[int, int]]:
        """Ranges of signs without white space in them."""
        words = []
        begin = -1
        for index in range(start, end + 1):
            if index == end or text[index].isspace() or not text[index]:
                if begin >= 0:
                    words.append((begin, index))
                begin = -1
            elif begin < 0:
                begin = index
        return words

    def _edge(self, index: int, side: int) -> float:
        """The left (0) or right (1) edge of a sign."""
        pdfium.FPDFText_GetCharBox(self.handle, index, *self._references)
        return float(self._box[side].value)

    def _height(self, index: int) -> float:
        box = pdfium.FS_RECTF()
        if not pdfium.FPDFText_GetLooseCharBox(self.handle, index, ctypes.byref(box)):
            return 10.0
        return max(abs(float(box.top) - float(box.bottom)), 1.0)

    def _face(self, index: int) -> tuple[bool, bool]:
        """Whether a sign is bold, and whether its font is of fixed pitch."""
        name = ctypes.create_string_buffer(128)
        flags = ctypes.c_int()
        pdfium.FPDFText_GetFontInfo(self.handle, index, name, 128, ctypes.byref(flags))
        bold = bool(_BOLD.search(name.value)) or pdfium.FPDFText_GetFontWeight(self.handle, index) >= 600
        return bold, bool(flags.value & 1) or bool(_FIXED.search(name.value))


def accented(word: str) -> str:
    """``word`` with accents that TeX set before their letters put onto them.

    >>> accented("Br\u00a8oker"), accented("5\u00b4")
    ('Bröker', '5´')
    """
    if not _ACCENT.search(word):
        return word
    return _ACCENT.sub(lambda match: _on_letter(match[1], match[2]), word)


def _on_letter(accent: str, letter: str) -> str:
    composed = unicodedata.normalize("NFC", letter.replace("\u0131", "i") + _COMBINING[accent])
    return composed if len(composed) == 1 else accent + letter


def _sign(code: int) -> str:
    if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return _TYPOGRAPHY.get(code) or ("" if code == 0 else chr(code))

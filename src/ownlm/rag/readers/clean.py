"""What the text of a document may hold: NFC, no control characters but newline and tab, no surrogates."""

from __future__ import annotations

import re
import unicodedata

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphen, zero-width space, word joiner, BOM
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_NEWLINE_SPACE = re.compile("[^\\S\n]+")


def clean(text: str) -> str:
    """``text`` with ``\\n`` line ends, in NFC, without control characters; a surrogate becomes U+FFFD.

    >>> clean("a\\r\\nb\\x0cc\\x07 e\\u0301")
    'a\\nb\\nc é'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _LINE_END.sub("\n", text)
    if not FORBIDDEN.search(text):
        return text
    return FORBIDDEN.sub("", _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text))


def one_line(text: str) -> str:
    """``text`` cleaned, in one line, runs of white space as one space, nothing invisible."""
    return " ".join(INVISIBLE.sub("", clean(text)).split())


def flowing(text: str) -> str:
    """``text`` cleaned as HTML flows it: runs of white space as one space, line breaks kept."""
    text = _NOT_NEWLINE_SPACE.sub(" ", INVISIBLE.sub("", clean(text)))
    return "\n".join(line.strip() for line in text.strip().split("\n"))

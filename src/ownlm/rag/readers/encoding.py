"""Bytes of a text file to characters: what encoding it has, by its mark, by trial, then by a stated guess."""

from __future__ import annotations

import codecs
import re

from ownlm.errors import UnreadableDocument

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 1 << 16
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HIGH = re.compile(rb"[\x80-\xff]")


def decode(data: bytes, declared: str = "") -> tuple[str, str]:
    """The text and a note about its encoding (empty when there is nothing to say).

    ``declared`` is the encoding that the document itself names (an HTML ``meta``). Raises UnreadableDocument
    when the bytes are not text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(name, "replace")
            bad = text.count("\N{REPLACEMENT CHARACTER}")
            return text, f"{bad} characters that are not {name.upper()} are shown as \ufffd" if bad else ""
    if declared:
        try:
            return data.decode(declared), ""
        except (LookupError, UnicodeDecodeError):
            pass
    if b"\x00" not in data:
        try:
            return data.decode("utf-8"), ""
        except UnicodeDecodeError:
            pass
    wide = _utf16_without_mark(data)
    if wide is not None:
        return wide
    _refuse_binary(data)
    return _guess(data)


def _utf16_without_mark(data: bytes) -> tuple[str, str] | None:
    """UTF-16 text in a Latin script has a zero in every other byte."""
    sample = data[: _SAMPLE & ~1]
    if len(data) % 2 or len(sample) < 4:
        return None
    half = len(sample) // 2
    for name, zeros, others in (
        ("utf-16-le", sample[1::2].count(0), sample[0::2].count(0)),
        ("utf-16-be", sample[0::2].count(0), sample[1::2].count(0)),
    ):
        if zeros > 0.7 * half and others < 0.05 * half:
            try:
                return data.decode(name), f"read as {name.upper()}: it has no byte order mark"
            except UnicodeDecodeError:
                return None
    return None


def _refuse_binary(data: bytes) -> None:
    sample = data[:_SAMPLE]
    if b"\x00" in sample or len(_CONTROLS.findall(sample)) > 0.02 * len(sample):
        raise UnreadableDocument("is binary data of an unknown kind, not text")


def _guess(data: bytes) -> tuple[str, str]:
    """UTF-8 with a few bad bytes, else Windows-1252, else nothing: garbage in the index helps nobody."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\N{REPLACEMENT CHARACTER}")
    good = sum(1 for character in text[:_SAMPLE] if character > "\x7f") - min(bad, _SAMPLE)
    if bad and bad * 10 < good:
        return text, f"{bad} bytes that are not UTF-8 are shown as \ufffd"
    high = len(_HIGH.findall(data[:_SAMPLE]))
    if high > 0.3 * len(data[:_SAMPLE]):
        raise UnreadableDocument("is text in an unknown encoding: save it as UTF-8")
    try:
        return data.decode("cp1252"), "read as Windows-1252: it is not UTF-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "read as Latin-1: it is not UTF-8"

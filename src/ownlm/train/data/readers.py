"""Files to documents, one at a time: JSONL, text and Parquet, compressed with gzip, xz or zstd, larger than memory."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ownlm.errors import InvalidData, MissingExtra, NotFound
from ownlm.train.data.cutting import cut, split_documents
from ownlm.train.data.source import Format, Source

LONGEST_LINE = 1 << 28
_JSON_SUFFIXES = {".jsonl", ".ndjson"}
_PACKED = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_GET = "get the file again"


class NotText(InvalidData):
    """Bytes that are no UTF-8 text: left out, and counted, where a folder was asked for."""


def documents(file: Path, source: Source, part: tuple[int, int] | None = None) -> Iterator[tuple[str, int]]:
    """(text, 0 for the first part of a document and 1 for a further one) of a file, in order.

    ``part``: of a file for which ``rows_of_bytes`` holds, only the rows that start in these bytes. A text longer than
    ``cutting.LONGEST`` is cut at a paragraph into several documents. Raises InvalidData with file and line, NotText,
    NotFound, MissingExtra.
    """
    try:
        with file.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            kind = source.format or _format(file, start)
            if kind == "parquet":
                texts = _parquet(file, source.text)
                yield from _cut_each(texts)
                return
            with unpacked(raw, start) as stream:
                if kind == "jsonl":
                    yield from _cut_each(_jsonl(stream, file, source.text, part))
                else:
                    yield from split_documents(_characters(stream, file), source.separator)
    except FileNotFoundError:
        raise NotFound(f"{file} is not there: give a file, a folder, or - for standard input") from None
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidData(file, f"is damaged or ends too early ({error})", _GET) from None
    except OSError as error:
        raise InvalidData(file, f"cannot be read ({error.strerror or error})", "give a file that can be") from None


def rows_of_bytes(file: Path, source: Source) -> bool:
    """Whether the file is JSONL and not compressed, so that parts of it can be read."""
    try:
        with file.open("rb") as raw:
            start = raw.read(6)
            kind = source.format or _format(file, start)
            return kind == "jsonl" and unpacked(raw, start) is raw
    except (OSError, MissingExtra):
        return False  # reading it will say what is wrong


def format_of_content(file: Path) -> Format:
    """What a file without a name is: Parquet, JSONL if its first character is a brace, else text."""
    with file.open("rb") as raw:
        start = raw.read(6)
        raw.seek(0)
        if start[:4] == b"PAR1":
            return "parquet"
        try:
            return "jsonl" if unpacked(raw, start).read(4096).lstrip()[:1] == b"{" else "text"
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile):
            return "text"  # reading it will say what is wrong


def clean(text: str) -> bytes:
    """The text in UTF-8. Half of a surrogate pair, which is no character, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()


def _format(file: Path, start: bytes) -> Format:
    if start[:4] == b"PAR1":
        return "parquet"
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in _PACKED]
    return "jsonl" if suffixes and suffixes[-1] in _JSON_SUFFIXES else "text"


def unpacked(raw: IO[bytes], start: bytes) -> IO[bytes]:
    """The bytes of the file, decompressed if its first bytes say that it is compressed."""
    if start[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.open(raw))
    if start == b"\xfd7zXZ\x00":
        return cast(IO[bytes], lzma.open(raw))
    if start[:4] == b"\x28\xb5\x2f\xfd":
        try:
            import zstandard
        except ModuleNotFoundError:
            raise MissingExtra("data", "zstandard") from None
        return cast(IO[bytes], io.BufferedReader(_Zstd(raw, zstandard), 1 << 20))
    return raw


class _Zstd(io.RawIOBase):
    """A zstd stream of several frames. Damage, and a last frame that does not end, are told as EOFError."""

    def __init__(self, raw: IO[bytes], zstandard: Any) -> None:
        self._raw, self._library = raw, zstandard
        self._frame: Any = None
        self._out = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._out:
            data = self._raw.read(1 << 14)
            if not data:
                if self._frame is not None:
                    raise EOFError("the last frame does not end")
                return 0
            self._out = self._decompressed(data)
        size = min(len(buffer), len(self._out))
        buffer[:size] = self._out[:size]
        self._out = self._out[size:]
        return size

    def _decompressed(self, data: bytes) -> bytes:
        found = []
        try:
            while data:
                if self._frame is None:
                    self._frame = self._library.ZstdDecompressor().decompressobj()
                found.append(self._frame.decompress(data))
                data = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame = None
        except self._library.ZstdError as error:
            raise EOFError(str(error)) from None
        return b"".join(found)


def _cut_each(texts: Iterator[str]) -> Iterator[tuple[str, int]]:
    for text in texts:
        for rank, part in enumerate(cut(text)):
            yield part, min(rank, 1)


def _jsonl(stream: IO[bytes], file: Path, field: str, part: tuple[int, int] | None) -> Iterator[str]:
    number, end = 0, None
    if part is not None:
        number, end = _start_part(stream, part), part[1]
    while (end is None or stream.tell() < end) and (line := stream.readline(LONGEST_LINE)):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise InvalidData(file, f"has more than {LONGEST_LINE >> 20} MiB", "it is no JSON Lines", line=number)
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            remedy = "every line has to be one JSON object"
            raise InvalidData(file, f"is not valid JSON ({problem})", remedy, line=number) from None
        if not isinstance(row, dict):
            raise InvalidData(file, "is not a JSON object", "every line has to be one", line=number)
        text = row.get(field)
        if not isinstance(text, str):
            raise _wrong(file, field, text, row, f'"{field}"', line=number)
        yield text


def _start_part(stream: IO[bytes], part: tuple[int, int]) -> int:
    """Go to the first row of the part; return how many lines stand before it."""
    if not part[0]:
        return 0
    left, number = part[0] - 1, 0  # the byte before: if it ends a row, the next one is the part's
    while left > 0:
        data = stream.read(min(left, 1 << 20))
        number += data.count(b"\n")
        left -= len(data) or left
    stream.readline()
    return number + 1


def _wrong(
    file: Path, field: str, value: object, known: Any, named: str, *, line: int | None = None, row: int | None = None
) -> InvalidData:
    """A row without the text that was asked for, or with something else in its place."""
    place: object = file if row is None else f"{file}, row {row}"
    if field in known:
        return InvalidData(place, f"has {type(value).__name__} in {named}", "give a field that holds text", line=line)
    there = ", ".join(map(str, list(known)[:8])) or "none"
    return InvalidData(place, f"has no {named}", f"name the field that holds the text (there are: {there})", line=line)


def _characters(stream: IO[bytes], file: Path) -> Iterator[str]:
    """The text in pieces of about a MiB. Raises NotText."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    while True:
        data = stream.read(1 << 20)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line += bytes(error.object[: error.start]).count(b"\n")
            raise NotText(file, "is not UTF-8 text", "convert it, or leave it out", line=line) from None
        if "\x00" in text:
            line += text[: text.index("\x00")].count("\n")
            raise NotText(file, "has a NUL character: it is no text", "leave it out", line=line)
        line += text.count("\n")
        yield text
        if not data:
            return


def _parquet(file: Path, column: str) -> Iterator[str]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise MissingExtra("data", "pyarrow") from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            known = opened.schema_arrow.names
            if column not in known:
                raise _wrong(file, column, None, known, f"column {column!r}")
            for batch in opened.iter_batches(batch_size=1024, columns=[column]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    if not isinstance(text, str):
                        raise _wrong(file, column, text, known, f"column {column!r}", row=number)
                    yield text
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidData(file, f"is no readable Parquet ({str(error).splitlines()[0]})", _GET) from None

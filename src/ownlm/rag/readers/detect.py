"""What kind of document some bytes are: by their content first, then by the name's suffix."""

from __future__ import annotations

from pathlib import PurePath

from ownlm.errors import UnreadableDocument

SUFFIXES = {
    **dict.fromkeys(("md", "markdown", "mdown", "mkd"), "markdown"),
    **dict.fromkeys(("html", "htm", "xhtml", "xht"), "html"),
    **dict.fromkeys(("csv", "tsv", "tab"), "delimited"),
    **dict.fromkeys(("json", "jsonl", "ndjson", "geojson", "ipynb"), "json"),
    **dict.fromkeys(("yaml", "yml"), "yaml"),
    **dict.fromkeys(("toml",), "toml"),
    **dict.fromkeys(("xml", "xsd", "xsl", "rss", "atom", "svg"), "xml"),
    **dict.fromkeys(
        (
            *("py", "pyi", "pyw", "c", "h", "cc", "cpp", "cxx", "hpp", "hh", "cu", "cs", "java", "kt", "scala", "go"),
            *("rs", "swift", "js", "mjs", "cjs", "jsx", "ts", "tsx", "vue", "rb", "php", "pl", "pm", "lua", "r", "jl"),
            *("sh", "bash", "zsh", "fish", "ps1", "bat", "sql", "css", "scss", "hs", "ml", "ex", "exs", "erl", "clj"),
            *("dart", "m", "mm", "f", "f90", "asm", "s", "cmake", "gradle", "proto", "tex", "el", "lisp", "scm"),
        ),
        "code",
    ),
}

# (offset, bytes, what it is in words): content that has no text to read here
_BINARIES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "an image (PNG)"),
    (0, b"\xff\xd8\xff", "an image (JPEG)"),
    (0, b"GIF8", "an image (GIF)"),
    (0, b"II*\x00", "an image (TIFF)"),
    (0, b"MM\x00*", "an image (TIFF)"),
    (8, b"WEBP", "an image (WebP)"),
    (0, b"BM", "an image (BMP)"),
    (0, b"\x00\x00\x01\x00", "an image (ICO)"),
    (8, b"WAVE", "audio (WAV)"),
    (8, b"AVI ", "a video (AVI)"),
    (4, b"ftyp", "a video or image (MP4 family)"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska)"),
    (0, b"OggS", "audio or video (Ogg)"),
    (0, b"fLaC", "audio (FLAC)"),
    (0, b"ID3", "audio (MP3)"),
    (0, b"\x1f\x8b", "an archive (gzip): unpack it"),
    (0, b"BZh", "an archive (bzip2): unpack it"),
    (0, b"\xfd7zXZ\x00", "an archive (xz): unpack it"),
    (0, b"(\xb5/\xfd", "an archive (zstd): unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive (7-Zip): unpack it"),
    (0, b"Rar!", "an archive (RAR): unpack it"),
    (257, b"ustar", "an archive (tar): unpack it"),
    (0, b"!<arch>\n", "an archive (ar): unpack it"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"MZ", "a program (Windows)"),
    (0, b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (0, b"\xca\xfe\xba\xbe", "a program (Java class or Mach-O)"),
    (0, b"\x00asm", "a program (WebAssembly)"),
    (0, b"SQLite format 3\x00", "a database (SQLite)"),
    (0, b"wOFF", "a font"),
    (0, b"wOF2", "a font"),
    (0, b"OTTO", "a font"),
    (0, b"\x00\x01\x00\x00\x00", "a font"),
    (0, b"GGUF", "a model (GGUF)"),
    (0, b"%!PS", "PostScript: convert it to PDF"),
    (0, b"AT&TFORM", "DjVu: convert it to PDF"),
    (60, b"BOOKMOBI", "a Mobipocket book: convert it to EPUB"),
    (0, b"{\\rtf", "rich text (RTF): save it as DOCX"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_KINDS = {"word": "docx", "ppt": "pptx", "xl": "xlsx"}
_OPEN_DOCUMENT = {"text": "text: save it as DOCX or PDF", "spreadsheet": "spreadsheet: save it as XLSX"}
_HTML_STARTS = (b"<!doctype html", b"<html")


def detect(data: bytes, name: str) -> str:
    """The module of ``readers`` for this document, or "text". Raises UnreadableDocument naming the kind."""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(_ZIPS):
        return _zip_kind(data)
    if data.startswith(_OLE):
        raise UnreadableDocument(_ole_kind(data))
    _refuse_binaries(data)
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    if start.startswith(_HTML_STARTS) or (start.startswith(b"<?xml") and b"<html" in data[:2048].lower()):
        return "html"
    return SUFFIXES.get(suffix, "text")


def _refuse_binaries(data: bytes) -> None:
    for offset, magic, words in _BINARIES:
        if data.startswith(magic, offset) and (len(magic) > 3 or not _mostly_text(data[:512])):
            raise UnreadableDocument(f"is {words}, not a document of text")


def _mostly_text(sample: bytes) -> bool:
    """Text can begin with "BM", "MZ" or "ID3"; binary data has control characters soon after."""
    return not any(byte < 9 or 13 < byte < 27 for byte in sample)


def _zip_kind(data: bytes) -> str:
    from ownlm.rag.readers.container import names_of

    names, mimetype = names_of(data)
    if mimetype == "application/epub+zip" or ("META-INF/container.xml" in names and not mimetype):
        return "epub"
    if mimetype.startswith("application/vnd.oasis.opendocument."):
        kind = mimetype.rsplit(".", 1)[1]
        raise UnreadableDocument(f"is an OpenDocument {_OPEN_DOCUMENT.get(kind, f'{kind}: save it as PDF')}")
    if "[Content_Types].xml" in names:
        for folder, kind in _ZIP_KINDS.items():
            if any(name.startswith(f"{folder}/") for name in names):
                return kind
        if any(name.lower().endswith(".bin") for name in names):
            raise UnreadableDocument("is an office file of a binary kind (XLSB): save it as XLSX")
    raise UnreadableDocument("is an archive (zip), not a document of text: unpack it")


def _ole_kind(data: bytes) -> str:
    if "EncryptedPackage".encode("utf-16-le") in data:
        return "is encrypted with a password: save a copy without one"
    for stream, words in (
        ("WordDocument", "a Word 97-2003 file (.doc): save it as DOCX"),
        ("Workbook", "an Excel 97-2003 file (.xls): save it as XLSX"),
        ("PowerPoint Document", "a PowerPoint 97-2003 file (.ppt): save it as PPTX"),
        ("__properties_version1.0", "an Outlook message (.msg): save it as text or HTML"),
    ):
        if stream.encode("utf-16-le") in data:
            return f"is {words}"
    return "is a compound file of an old office program: save it in a current format"

"""PDF, by pdfium: pages, paragraphs, headings by size of type, tables by columns."""

from __future__ import annotations

from typing import Any

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers.builder import TextBuilder, check_length
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.pdf_layout import Block, Type, blocks, ends_open
from ownlm.rag.readers.pdf_lines import Line, PageText
from ownlm.rag.readers.pdf_margins import without_running_lines
from ownlm.rag.readers.tables import add_table
from ownlm.rag.types import Extracted

_LISTED = 5  # running lines and page numbers that a note spells out


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    document = _open(data)
    try:
        return _read(document, limits)
    finally:
        document.close()


def _open(data: bytes) -> Any:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == pdfium.FPDF_ERR_PASSWORD:
            raise UnreadableDocument("is encrypted with a password: save a copy without one") from None
        if code == pdfium.FPDF_ERR_SECURITY:
            raise UnreadableDocument(
                "is encrypted in a way that cannot be read: save a copy without encryption"
            ) from None
        raise UnreadableDocument("is a damaged or truncated PDF") from None


def _read(document: Any, limits: Limits) -> Extracted:
    builder = TextBuilder(limits.characters)
    pages: list[list[Line]] = []
    labels: list[str] = []
    empty: list[int] = []
    damaged: list[int] = []
    length = 0
    for index in range(len(document)):
        labels.append(document.get_page_label(index) or str(index + 1))
        lines, pictures = _page(document, index)
        if lines is None:
            damaged.append(index)
        elif not lines and pictures:
            empty.append(index)
        pages.append(lines or [])
        length += sum(len(line.text) for line in pages[-1])
        check_length(length, limits.characters)
    if not any(pages):
        raise UnreadableDocument(_why_no_text(len(pages), len(empty), len(damaged)))
    if empty:
        builder.note(f"no text layer on {_listed(empty, labels)} (a scan?): not read; OCR, such as ocrmypdf, adds one")
    if damaged:
        builder.note(f"{_listed(damaged, labels)} could not be read: damaged")
    running = without_running_lines(pages, labels, Type.of(pages).body)
    if running:
        shown = ", ".join(repr(text[:60]) for text in running[:_LISTED])
        builder.note(f"running headers and footers were left out after their first page: {shown}")
    if document.get_formtype() != pdfium.FORMTYPE_NONE:
        builder.note("what was filled into form fields was left out")
    _write(builder, pages, labels)
    title = (document.get_metadata_dict().get("Title") or "").strip()
    return builder.extracted(title, "application/pdf")


def _page(document: Any, index: int) -> tuple[list[Line] | None, bool]:
    """The lines of a page (None: damaged), and whether it has pictures (looked for when there are no lines)."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return None, False
    try:
        text = page.get_textpage()
        try:
            lines = PageText(text.raw).lines()
        finally:
            text.close()
        return lines, not lines and any(
            item.type == pdfium.FPDF_PAGEOBJ_IMAGE for item in page.get_objects(max_depth=3)
        )
    except pypdfium2.PdfiumError:
        return None, False
    finally:
        page.close()


def _why_no_text(pages: int, scanned: int, damaged: int) -> str:
    count = "1 page" if pages == 1 else f"{pages} pages"
    if damaged and damaged == pages:
        return f"is a damaged PDF: none of its {count} can be read"
    if scanned:
        return f"is a scan without a text layer ({count}): run OCR over it, such as `ocrmypdf IN.pdf OUT.pdf`"
    return f"is a PDF without text ({count})"


def _listed(indices: list[int], labels: list[str]) -> str:
    shown = ", ".join(labels[index] for index in indices[:_LISTED])
    more = f" and {len(indices) - _LISTED} more" if len(indices) > _LISTED else ""
    return f"{'page' if len(indices) == 1 else 'pages'} {shown}{more}"


def _write(builder: TextBuilder, pages: list[list[Line]], labels: list[str]) -> None:
    form = Type.of(pages)
    last: Block | None = None
    for lines, label in zip(pages, labels, strict=True):
        builder.open("page", label)
        for position, block in enumerate(blocks(lines, form)):
            if block.rows:
                add_table(builder, block.rows, header_rows=block.header_rows)
            elif block.level:
                builder.heading(block.text, block.level)
            elif position == 0 and last is not None and _goes_on(last, block):
                builder.resume(block.text)
            else:
                builder.block(block.text, tight=block.tight)
            last = block
        builder.close()


def _goes_on(last: Block, block: Block) -> bool:
    """Whether a page's first paragraph is the rest of the last one of the page before."""
    return not last.level and not last.rows and ends_open(last.text) and block.text[:1].islower()

"""DOCX: paragraphs, headings, lists and tables in their order (ECMA-376 part 1, section 17).

Letterheads first, footnotes below the paragraph that refers to them, footers last. Read as if all tracked
changes were accepted; hidden text and comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from docx import Document
from docx.oxml.ns import qn

from ownlm.errors import DocumentTooLarge
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.clean import one_line
from ownlm.rag.readers.container import Container
from ownlm.rag.readers.docx_styles import list_of, outline_level, styles_of
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.numbering import Numbering
from ownlm.rag.readers.tables import add_table
from ownlm.rag.types import Extracted

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_P, _TBL, _TR, _TC, _R, _T = (qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc", "r", "t"))
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NOTES = {qn("w:footnoteReference"): "footnotes", qn("w:endnoteReference"): "endnotes"}
_BREAKS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_SKIPPED = {qn(f"w:{name}") for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr", "txbxContent")}
_PAGE_NUMBER = re.compile(r"(?:page|seite|p\.)?\s*\d*\s*(?:of|von|/)?\s*\d*", re.IGNORECASE)


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    container = Container(data, limits)
    container.refuse_entities()
    document = Document(BytesIO(data))
    builder = TextBuilder(limits.characters)
    _Body(document, builder, limits.depth).read()
    return builder.extracted(document.core_properties.title, MEDIA_TYPE)


class _Body:
    def __init__(self, document: Any, builder: TextBuilder, depth: int) -> None:
        self.document = document
        self.builder = builder
        self.depth = depth
        self.styles = styles_of(document)
        parts = {str(part.partname): part for part in document.part.package.iter_parts()}
        self.numbering = Numbering(_root(parts.get("/word/numbering.xml")))
        self.notes = {kind: _notes(_root(parts.get(f"/word/{kind}.xml"))) for kind in _NOTES.values()}
        self.in_list = False
        if "/word/comments.xml" in parts:
            builder.note("comments were left out")

    def read(self) -> None:
        headers, footers = _margins(self.document)
        for text in headers:
            self.builder.block(text)
        body = self.document.element.body
        if next(body.iter(qn("w:del"), qn("w:ins")), None) is not None:
            self.builder.note("tracked changes were read as accepted")
        self.blocks(body, 0)
        for text in footers:
            self.builder.block(text)

    def blocks(self, parent: Any, level: int) -> None:
        """Paragraphs and tables below ``parent``, through content controls and the like."""
        if level > self.depth:
            raise DocumentTooLarge(f"nests elements deeper than {self.depth} levels")
        for child in parent:
            if child.tag == _P:
                self.paragraph(child)
            elif child.tag == _TBL:
                self.table(child)
                self.in_list = False
            elif isinstance(child.tag, str) and child.tag not in _SKIPPED and child.tag != _FALLBACK:
                self.blocks(child, level + 1)

    def paragraph(self, paragraph: Any) -> None:
        text, references = _inline(paragraph)
        name, level, number = self._style(paragraph)
        if text.strip():
            label = self.numbering.label(*number) if number else ""
            if level or name == "Title":
                self.builder.heading(label + text, level or 1)
            else:
                item = bool(number) or name.startswith("List")
                if item and not label:
                    label = "- "
                self.builder.block(label + text.strip(), tight=item and self.in_list)
                self.in_list = item
        for kind, reference in references:
            if note := self.notes[kind].get(reference):
                self.builder.block(f"Note {reference}: {note}")
        for box in paragraph.iter(qn("w:txbxContent")):
            if not any(ancestor.tag == _FALLBACK for ancestor in box.iterancestors()):
                self.blocks(box, 1)

    def _style(self, paragraph: Any) -> tuple[str, int, tuple[str, int] | None]:
        """The style's name, the outline level (0: body text), and the list the paragraph is in."""
        properties = paragraph.find(qn("w:pPr"))
        style = properties.find(qn("w:pStyle")) if properties is not None else None
        name, level, number = self.styles.get(style.get(qn("w:val")) if style is not None else "", ("", 0, None))
        if properties is not None:
            level = outline_level(properties) or level
            number = list_of(properties, number)
        return name, level, number

    def table(self, table: Any) -> None:
        if any(_TBL in (child.tag for child in cell) for cell in table.iter(_TC)):
            for cell in table.iter(_TC):  # a table that holds tables lays out the page
                if not any(ancestor.tag == _TC for ancestor in cell.iterancestors()):
                    self.blocks(cell, 1)
            return
        rows: list[list[str]] = []
        header_rows = 0
        for row in table.iter(_TR):
            if row.find(f"{qn('w:trPr')}/{qn('w:tblHeader')}") is not None and header_rows == len(rows):
                header_rows += 1
            rows.append(_cells(row, rows[-1] if rows else []))
        if max(map(len, rows), default=0) > 1:
            add_table(self.builder, rows, header_rows=header_rows or None)
        else:
            for cell in table.iter(_TC):  # one column is a box around text
                self.blocks(cell, 1)


def _cells(row: Any, above: list[str]) -> list[str]:
    """A row's texts; a cell over several columns or rows counts in each."""
    cells: list[str] = []
    for cell in row.iter(_TC):
        properties = cell.find(qn("w:tcPr"))
        text = " ".join(one_line(_inline(paragraph)[0]) for paragraph in cell.iter(_P)).strip()
        span = 1
        if properties is not None:
            merge, grid = properties.find(qn("w:vMerge")), properties.find(qn("w:gridSpan"))
            if merge is not None and merge.get(qn("w:val")) != "restart" and len(cells) < len(above):
                text = above[len(cells)]
            if grid is not None and (grid.get(qn("w:val")) or "").isdecimal():
                span = min(max(int(grid.get(qn("w:val"))), 1), 100)
        cells += [text] * span
    return cells


def _inline(paragraph: Any) -> tuple[str, list[tuple[str, str]]]:
    """A paragraph's visible text, and the notes it refers to."""
    parts: list[str] = []
    references: list[tuple[str, str]] = []
    stack = list(reversed(paragraph))
    while stack:
        node = stack.pop()
        tag = node.tag
        if tag == _T:
            parts.append(node.text or "")
        elif tag in _BREAKS:
            parts.append(_BREAKS[tag])
        elif tag in _NOTES:
            references.append((_NOTES[tag], node.get(qn("w:id")) or ""))
        elif tag not in _SKIPPED and tag != _FALLBACK and not (tag == _R and _vanishes(node)):
            stack.extend(reversed(node))
    return "".join(parts), references


def _vanishes(run: Any) -> bool:
    hidden = run.find(f"{qn('w:rPr')}/{qn('w:vanish')}")
    return hidden is not None and hidden.get(qn("w:val")) not in ("0", "false")


def _notes(root: Any | None) -> dict[str, str]:
    if root is None:
        return {}
    items = [item for item in root if item.get(qn("w:type")) in (None, "normal")]
    return {
        item.get(qn("w:id")): " ".join(one_line(_inline(paragraph)[0]) for paragraph in item.iter(_P)) for item in items
    }


def _root(part: Any | None) -> Any | None:
    """The XML of a part, which python-docx has parsed only for the kinds it knows."""
    if part is None:
        return None
    if hasattr(part, "element"):
        return part.element
    from docx.oxml.parser import parse_xml

    return parse_xml(part.blob)


def _margins(document: Any) -> tuple[list[str], list[str]]:
    """The different texts of headers and of footers, page numbers aside."""
    headers: dict[str, None] = {}
    footers: dict[str, None] = {}
    for relation in document.part.rels.values():
        if relation.is_external:
            continue
        kind = relation.reltype.rsplit("/", 1)[-1]
        if kind in ("header", "footer"):
            for text in _paragraphs(_root(relation.target_part)):
                (headers if kind == "header" else footers)[text] = None
    return list(headers), list(footers)


def _paragraphs(root: Any) -> Iterator[str]:
    for paragraph in root.iter(_P):
        text = one_line(_inline(paragraph)[0])
        if text and not _PAGE_NUMBER.fullmatch(text):
            yield text

"""HTML: what a reader sees, with headings, lists, tables and code.

Parsed by Lexbor (selectolax) as browsers do. Left out: what is not shown (script, style, template, ``hidden``,
``display: none`` in a style attribute) and what is no text. Style sheets are not evaluated.
"""

from __future__ import annotations

import re
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from ownlm.errors import DocumentTooLarge
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.encoding import decode
from ownlm.rag.readers.html_nodes import BLOCKS, SPACE, UNSEEN, grid, is_data, is_hidden, text_of
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.tables import add_table
from ownlm.rag.types import Extracted

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([a-zA-Z0-9_.-]{1,40})")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]*)(?=[\s>])[^<>]*(?<!/)>")
_EMPTY_ELEMENT = re.compile(r"<([a-zA-Z][a-zA-Z0-9:-]*)((?:\s[^<>]*?)?)/>")
_VOID = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
}
_CLOSED_BY_OTHERS = _VOID | {
    *("p", "li", "td", "th", "tr", "dt", "dd", "option", "thead", "tbody", "tfoot", "colgroup", "rp", "rt", "html"),
    "body",
}


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    builder = TextBuilder(limits.characters)
    title = add_html(builder, data, limits)
    return builder.extracted(title, "text/html")


def add_html(builder: TextBuilder, data: bytes, limits: Limits) -> str:
    """Append a page's visible text; its title is returned."""
    match = _CHARSET.search(data[:4096]) or _XML_ENCODING.search(data[:200])
    text, note = decode(data, match[1].decode("ascii") if match else "")
    if note:
        builder.note(note)
    if text.lstrip("\ufeff \t\r\n").startswith("<?xml") or "http://www.w3.org/1999/xhtml" in text[:2048]:
        text = _EMPTY_ELEMENT.sub(_opened_and_closed, text)
    _refuse_depth(text, limits.depth)
    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    if tree.body is not None:
        _Page(builder, limits.depth).walk(tree.body)
    return title.text() if title is not None else ""


def _opened_and_closed(match: re.Match[str]) -> str:
    """XHTML's ``<title/>`` for a parser of HTML, to which it is ``<title>`` and swallows the page."""
    name, attributes = match[1], match[2]
    return match[0] if name.lower() in _VOID else f"<{name}{attributes}></{name}>"


def _refuse_depth(text: str, depth: int) -> None:
    """Stop before the parser does: its time grows with the square of the depth.

    Five times the limit, because tags that browsers close by themselves are counted as open here.
    """
    if text.count("<") < 5 * depth:
        return
    opened = 0
    for match in _TAG.finditer(text):
        if match[2].lower() not in _CLOSED_BY_OTHERS:
            opened = max(opened - 1, 0) if match[1] else opened + 1
            if opened > 5 * depth:
                raise DocumentTooLarge(f"nests elements deeper than {depth} levels")


class _Page:
    """Walks a tree without recursion (documents nest deeper than Python does), collecting inline text."""

    def __init__(self, builder: TextBuilder, depth: int) -> None:
        self.builder = builder
        self.depth = depth
        self.inline: list[str] = []
        self.lists: list[int | None] = []  # the next number of each open list; None: unnumbered
        self.bullet = ""
        self.in_list = False

    def walk(self, root: Any) -> None:
        stack: list[tuple[Any, bool]] = [(root, False)]
        level = 0
        while stack:
            node, leaving = stack.pop()
            if leaving:
                level -= 1
                self._leave(node.tag)
                continue
            if node.tag == "-text":
                self.inline.append(SPACE.sub(" ", node.text_content or ""))
                continue
            if not self._enter(node):
                continue
            level += 1
            if level > self.depth:
                raise DocumentTooLarge(f"nests elements deeper than {self.depth} levels")
            stack.append((node, True))
            children = list(node.iter(include_text=True))
            stack.extend((child, False) for child in reversed(children))
        self._flush()

    def _enter(self, node: Any) -> bool:
        """Begin an element; False when its content is unseen or dealt with."""
        tag = node.tag
        if tag in UNSEEN or is_hidden(node):
            return False
        if tag == "br":
            self.inline.append("\n")
            return False
        if tag not in BLOCKS:
            return True
        self._flush()
        if tag in _HEADINGS:
            self.builder.heading(text_of(node), _HEADINGS[tag])
            return False
        if tag == "pre":
            self.builder.open("code")
            self.builder.verbatim(text_of(node, verbatim=True))
            self.builder.close()
            return False
        if tag == "table" and is_data(node):
            self._table(node)
            return False
        if tag in ("ul", "menu", "dir"):
            self.lists.append(None)
        elif tag == "ol":
            start = node.attributes.get("start") or ""
            self.lists.append(int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1)
        elif tag == "li":
            self.bullet = self._next_bullet()
        return True

    def _leave(self, tag: str) -> None:
        if tag not in BLOCKS:
            return
        self._flush()
        if tag in ("ul", "menu", "dir", "ol") and self.lists:
            self.lists.pop()
            if not self.lists:
                self.in_list = False
        elif tag == "li":
            self.bullet = ""

    def _next_bullet(self) -> str:
        if not self.lists or (number := self.lists[-1]) is None:
            return "- "
        self.lists[-1] = number + 1
        return f"{number}. "

    def _flush(self) -> None:
        """What was collected becomes a block; items of a list follow each other without a blank line."""
        text = "".join(self.inline).strip(" \n")
        self.inline.clear()
        if not text:
            return
        text = "\n".join(line.strip() for line in text.split("\n"))
        self.builder.block(self.bullet + text, tight=self.in_list and bool(self.lists))
        self.in_list = bool(self.lists)
        self.bullet = ""

    def _table(self, table: Any) -> None:
        caption = table.css_first("caption")
        label = text_of(caption) if caption is not None else ""
        if label:
            self.builder.block(label)
        rows, header_rows = grid(table)
        add_table(self.builder, rows, header_rows=header_rows or None, label=label)

"""Elements of HTML: which are shown, which are blocks, the text in one, the cells of a table."""

from __future__ import annotations

import re
from typing import Any

UNSEEN = {
    *("script", "style", "template", "noscript", "head", "title", "meta", "link", "svg", "canvas", "iframe", "object"),
    *("embed", "audio", "video", "map", "select", "datalist", "input", "textarea", "noframes", "-comment", "!doctype"),
}
BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
    ),
    *("div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html"),
    *(
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
    ),
    *("td", "tfoot", "th", "thead", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"),
}
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
SPACE = re.compile(r"[ \t\n\r\f]+")


def is_hidden(node: Any) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))


def is_data(table: Any) -> bool:
    """Whether a table holds data; tables that lay out a page hold blocks, tables or one column."""
    if len(table.css("table")) > 1 or table.css_first("h1, h2, h3, h4, h5, h6, ul, ol, pre") is not None:
        return False
    return any(len([cell for cell in row.iter() if cell.tag in ("td", "th")]) > 1 for row in table.css("tr"))


def grid(table: Any) -> tuple[list[list[str]], int]:
    """The cells by row and column, spanning cells repeated, and how many rows at the top are a header."""
    rows: list[list[str]] = []
    carried: dict[tuple[int, int], str] = {}
    header_rows = 0
    for number, row in enumerate(row for row in table.css("tr") if not is_hidden(row)):
        cells: list[str] = []
        found = [cell for cell in row.iter() if cell.tag in ("td", "th")]
        for cell in found:
            while (number, len(cells)) in carried:
                cells.append(carried.pop((number, len(cells))))
            text = "" if is_hidden(cell) else text_of(cell)
            for _ in range(_span(cell, "colspan")):
                for below in range(1, _span(cell, "rowspan")):
                    carried[number + below, len(cells)] = text
                cells.append(text)
        while (number, len(cells)) in carried:
            cells.append(carried.pop((number, len(cells))))
        names = all(cell.tag == "th" for cell in found) or (row.parent is not None and row.parent.tag == "thead")
        if found and names and header_rows == len(rows):
            header_rows += 1
        rows.append(cells)
    return rows, header_rows


def _span(cell: Any, name: str) -> int:
    value = cell.attributes.get(name) or ""
    return min(max(int(value), 1), 100) if re.fullmatch(r"\d{1,4}", value) else 1


def text_of(root: Any, *, verbatim: bool = False) -> str:
    """All visible text in an element."""
    parts: list[str] = []
    stack = list(reversed(list(root.iter(include_text=True))))
    while stack:
        node = stack.pop()
        if node.tag == "-text":
            parts.append(node.text_content or "")
        elif node.tag == "br":
            parts.append("\n")
        elif node.tag not in UNSEEN and not is_hidden(node):
            if node.tag in BLOCKS and not verbatim:
                parts.append(" ")
            stack.extend(reversed(list(node.iter(include_text=True))))
    text = "".join(parts)
    return text if verbatim else SPACE.sub(" ", text).strip()

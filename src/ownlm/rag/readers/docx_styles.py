"""What the styles of a DOCX say of a paragraph: its name, its outline level, the list it is in."""

from __future__ import annotations

import re
from typing import Any

from docx.oxml.ns import qn

_HEADING = re.compile(r"heading\s*([1-9])", re.IGNORECASE)


def styles_of(document: Any) -> dict[str, tuple[str, int, tuple[str, int] | None]]:
    """Each paragraph style's name, outline level and list, inherited from what it is based on."""
    elements = {style.get(qn("w:styleId")): style for style in document.styles.element.iter(qn("w:style"))}
    result: dict[str, tuple[str, int, tuple[str, int] | None]] = {}
    for identifier, style in elements.items():
        named, level, number = "", 0, None
        seen: set[str | None] = set()
        current: Any | None = style
        key: str | None = identifier
        while current is not None and key not in seen:
            seen.add(key)
            name = value_of(current, "w:name")
            named = named or name
            properties = current.find(qn("w:pPr"))
            if properties is not None:
                level = level or outline_level(properties)
                number = list_of(properties, None) if number is None else number
            if match := _HEADING.fullmatch(name):
                level = level or int(match[1])
            key = value_of(current, "w:basedOn")
            current = elements.get(key)
        if style.get(qn("w:default")) in ("1", "true") and style.get(qn("w:type")) == "paragraph":
            result.setdefault("", (named, level, number))
        result[identifier] = ("Title" if named.lower() == "title" else named, level, number)
    return result


def outline_level(properties: Any) -> int:
    """The level of heading that paragraph properties give; 0: body text."""
    value = value_of(properties, "w:outlineLvl")
    return int(value) + 1 if value in tuple("012345678") else 0


def list_of(properties: Any, inherited: tuple[str, int] | None) -> tuple[str, int] | None:
    """The list (its id and the depth in it) that paragraph properties give, or the one inherited."""
    numbered = properties.find(qn("w:numPr"))
    if numbered is None:
        return inherited
    depth = value_of(numbered, "w:ilvl")
    identifier = value_of(numbered, "w:numId") or (inherited[0] if inherited else "")
    if not identifier or identifier == "0":
        return None
    return identifier, int(depth) if depth in tuple("012345678") else 0


def value_of(parent: Any, name: str) -> str:
    """The ``w:val`` of a child element, or empty."""
    child = parent.find(qn(name))
    return (child.get(qn("w:val")) or "") if child is not None else ""

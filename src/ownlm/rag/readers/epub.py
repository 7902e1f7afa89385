"""EPUB 2 and 3: the pages of the book in the order of its spine (EPUB 3.3, sections 4.2 and 5)."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote, urlsplit

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.container import Container
from ownlm.rag.readers.html import add_html
from ownlm.rag.readers.limits import Limits
from ownlm.rag.types import Extracted

_FONT_SCRAMBLING = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "application/html")


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    book = Container(data, limits)
    _refuse_protected(book)
    root = next((item.get("full-path", "") for item in _all(_xml(book, "META-INF/container.xml"), "rootfile")), "")
    package = _xml(book, root)
    folder = posixpath.dirname(root)
    manifest = {item.get("id"): item for item in _all(package, "item")}
    builder = TextBuilder(limits.characters)
    for reference in _all(package, "itemref"):
        item = manifest.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES:
            builder.note("a part of the book that is not a page of text was left out")
        elif "nav" not in (item.get("properties") or "").split():
            _add_page(builder, book, posixpath.normpath(posixpath.join(folder, _local(item.get("href")))), limits)
    title = next((item.text for item in _all(package, "title") if item.text), "")
    return builder.extracted(title, "application/epub+zip")


def _add_page(builder: TextBuilder, book: Container, name: str, limits: Limits) -> None:
    try:
        data = book.read(name)
    except UnreadableDocument as error:
        builder.note(f"a page was left out: {error}")
        return
    add_html(builder, data, limits)


def _refuse_protected(book: Container) -> None:
    if "META-INF/encryption.xml" not in book.names:
        return
    methods = {item.get("Algorithm") for item in _all(_xml(book, "META-INF/encryption.xml"), "EncryptionMethod")}
    if methods - set(_FONT_SCRAMBLING):
        raise UnreadableDocument("is protected against copying (DRM): it cannot be read here")


def _xml(book: Container, name: str) -> Any:
    try:
        return fromstring(book.read(name), forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError):
        raise UnreadableDocument(f"is not a sound EPUB: {name[:200]!r} is not plain XML") from None


def _all(root: Any, tag: str) -> list[Any]:
    """Elements by local name, in order of the document."""
    return [item for item in root.iter() if isinstance(item.tag, str) and item.tag.rpartition("}")[2] == tag]


def _local(href: str | None) -> str:
    return unquote(urlsplit(href or "").path)

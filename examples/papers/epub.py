"""EPUB 3: one file for each chapter, with a table of contents."""

from __future__ import annotations

import io
import uuid
import zipfile
from html import escape

from papers.markup import Block, Paper, bold_runs
from papers.zipped import add

_CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""


def _page(title: str, body: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en">\n'
        f"<head><title>{escape(title)}</title></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _html(block: Block) -> str:
    if block.kind == "table":
        header, *rows = block.rows
        return f"<table>{_row(header, 'th')}{''.join(_row(row, 'td') for row in rows)}</table>"
    if block.kind in ("bullets", "numbers"):
        tag = "ul" if block.kind == "bullets" else "ol"
        return f"<{tag}>{''.join(f'<li>{escape(item)}</li>' for item in block.lines)}</{tag}>"
    if block.kind == "heading":
        return f"<h{block.level}>{escape(block.lines[0])}</h{block.level}>"
    text = "".join(f"<b>{escape(run)}</b>" if bold else escape(run) for run, bold in bold_runs(block.lines[0]))
    return f"<p>{text}</p>"


def make_epub(paper: Paper) -> bytes:
    cover = f"<h1>{escape(paper.title)}</h1>\n<p>{escape(paper.subtitle)}</p>\n<p>{escape(paper.author)}</p>"
    pages = [(paper.title, cover)]
    for title, blocks in paper.sections():
        pages.append((title, "\n".join([f"<h1>{escape(title)}</h1>", *map(_html, blocks)])))
    names = [f"chapter-{number:02}.xhtml" for number in range(len(pages))]
    links = "".join(f'<li><a href="{n}">{escape(t)}</a></li>' for n, (t, _) in zip(names, pages, strict=True))
    contents = _page("Contents", f'<nav epub:type="toc"><h1>Contents</h1><ol>{links}</ol></nav>')
    items = "".join(f'<item id="c{i}" href="{n}" media-type="application/xhtml+xml"/>' for i, n in enumerate(names))
    spine = "".join(f'<itemref idref="c{i}"/>' for i in range(len(names)))
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"https://larkfold.example/{paper.title}")
    package = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">\n'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">urn:uuid:{identifier}</dc:identifier><dc:title>{escape(paper.title)}</dc:title>'
        f"<dc:creator>{escape(paper.author)}</dc:creator><dc:language>en</dc:language>"
        f'<meta property="dcterms:modified">{paper.date:%Y-%m-%dT%H:%M:%SZ}</meta></metadata>\n'
        '<manifest><item id="nav" href="contents.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f"{items}</manifest>\n<spine>{spine}</spine>\n</package>\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        add(archive, "mimetype", b"application/epub+zip", paper.date, stored=True)
        add(archive, "META-INF/container.xml", _CONTAINER.encode(), paper.date)
        add(archive, "book/package.opf", package.encode(), paper.date)
        add(archive, "book/contents.xhtml", contents.encode(), paper.date)
        for name, (title, body) in zip(names, pages, strict=True):
            add(archive, f"book/{name}", _page(title, body).encode(), paper.date)
    return buffer.getvalue()

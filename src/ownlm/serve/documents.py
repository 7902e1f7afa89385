"""/api/documents: what is indexed, its text by windows, adding a dropped file, and removing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ownlm.rag.library import Library
from ownlm.rag.types import Document
from ownlm.serve.problem import Problem
from ownlm.serve.schema import MAX_INTEGER, Empty, UploadBody
from ownlm.serve.settings import Settings
from ownlm.serve.stream import Emit, respond
from ownlm.serve.uploads import Uploads
from ownlm.serve.work import Gate, Stop

WINDOW = 20_000
MAX_WINDOW = 200_000
MAX_PAGE = 1_000

Offset = Annotated[int, Query(ge=0, le=MAX_INTEGER)]


def router(library: Library, settings: Settings, reading: Gate) -> APIRouter:
    """The routes, bound to a library. ``reading`` serves quick reads; adding files takes turns of its own."""
    routes = APIRouter(prefix="/api/documents")
    uploads = Uploads(library.home / "uploads")
    writing = Gate(1, settings.max_waiting)

    @routes.get("")
    async def listing(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 200, offset: Offset = 0, match: str = ""
    ) -> dict[str, Any]:
        """Documents by name, those whose title or name holds ``match``; ``total`` counts all of these."""

        def read() -> dict[str, Any]:
            wanted = match.casefold()
            every = library.documents()
            found = [each for each in every if wanted in each.title.casefold() or wanted in each.name.casefold()]
            return {
                "documents": [_as_json(each, uploads) for each in found[offset : offset + limit]],
                "total": len(found),
                "indexed": len(every),
                "limits": {"upload_bytes": settings.max_upload_bytes},
            }

        return await reading.run(read)

    @routes.get("/{key:path}")
    async def text(key: str, start: Offset = 0, end: Offset | None = None) -> dict[str, Any]:
        """A document by id or name, with its text from ``start`` to ``end`` and the marks that touch it."""
        stop = start + WINDOW if end is None else end
        if not 0 < stop - start <= MAX_WINDOW:
            message = f"end - start is {stop - start}: ask for 1 to {MAX_WINDOW} characters at a time"
            raise Problem(400, message, code="invalid_value", param="end")

        def read() -> dict[str, Any]:
            document = library.document(_key(key))
            extracted = library.extracted(document.id)
            window = extracted.text[start:stop]
            marks = [asdict(mark) for mark in extracted.marks if mark.start < stop and mark.end > start]
            return {
                "document": _as_json(document, uploads),
                "text": window,
                "start": min(start, len(extracted.text)),
                "end": min(start, len(extracted.text)) + len(window),
                "characters": len(extracted.text),
                "marks": marks,
            }

        return await reading.run(read)

    @routes.post("")
    async def add(request: Request, body: UploadBody) -> Response:
        """Store a file and index it. Events: ``progress``, then ``done`` with the document and the report."""

        def work(emit: Emit, stop: Stop) -> dict[str, Any]:
            with uploads.adding(body, settings.max_upload_bytes) as path:
                report = library.sync(
                    [path], on_progress=lambda step: emit("progress", asdict(step)), cancel=stop.is_set
                )
                stop.check()
                if report.skipped or not report.documents:
                    reason = report.skipped[0].reason if report.skipped else "files of this kind are not indexed"
                    raise Problem(422, reason, code="unreadable_document", param="content_base64")
                document = library.document(report.documents[0])
            return {"document": _as_json(document, uploads), "report": asdict(report)}

        return respond(request, writing, work, settings.keep_alive_seconds)

    @routes.delete("/{key:path}")
    async def remove(key: str, body: Empty) -> dict[str, Any]:
        """Take a document out of the index. A file that was added here is deleted; any other file stays."""

        def write() -> dict[str, Any]:
            document = library.document(_key(key))
            shown = _as_json(document, uploads)
            uploads.discard(document.name)
            library.remove([document.id])
            return {"removed": shown}

        return await writing.run(write)

    return routes


def _key(text: str) -> str | int:
    """An id if it is a number, else a name."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _as_json(document: Document, uploads: Uploads) -> dict[str, Any]:
    return {**asdict(document), "uploaded": uploads.holds(document.name)}

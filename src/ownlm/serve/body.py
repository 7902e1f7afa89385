"""No request is larger than its route needs, whether or not it says its length beforehand."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ownlm.serve.problem import Problem
from ownlm.serve.settings import Settings

UPLOAD_PATH = "/api/documents"
UPLOAD_OVERHEAD = 16 * 1024
UPLOADS_AT_ONCE = 4


def limit_for(path: str, settings: Settings) -> int:
    """Bytes that a body sent to ``path`` may have. Base64 writes three bytes as four characters."""
    if path == UPLOAD_PATH:
        return max(settings.max_body_bytes, settings.max_upload_bytes * 4 // 3 + UPLOAD_OVERHEAD)
    return settings.max_body_bytes


class BodyLimit:
    """ASGI middleware: refuses by Content-Length at once, and a chunked body when it passes the limit.

    Files take turns, so that many of them at once do not fill the memory: an upload is not read before it is its turn.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.turns = anyio.Semaphore(UPLOADS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = limit_for(scope["path"], self.settings)
        declared = Headers(scope=scope).get("content-length", "0")
        # int() alone would admit "+5", " 5" and "5_0"; HTTP does not.
        if not (declared.isascii() and declared.isdigit()):
            await Problem(400, "Content-Length is not a number", code="invalid_header").response()(scope, receive, send)
            return
        if len(declared) > 18 or int(declared) > limit:
            await _too_large(declared, limit).response()(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(f"over {limit}", limit)
            return message

        if scope["path"] == UPLOAD_PATH and scope["method"] == "POST":
            async with self.turns:
                await self.app(scope, counted, send)
        else:
            await self.app(scope, counted, send)


def _too_large(size: str, limit: int) -> Problem:
    return Problem(
        413,
        f"The request has {size} bytes; this route takes at most {limit}",
        code="body_too_large",
        headers={"connection": "close"},
    )

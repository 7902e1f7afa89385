"""Answers as OpenAI streams them: ``data:`` lines of JSON, comments while nothing comes, ``[DONE]`` at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ownlm.errors import OwnLMError
from ownlm.serve.problem import Problem, from_error
from ownlm.serve.work import Abandoned, Stop, while_connected

log = logging.getLogger(__name__)

Chunks = AsyncIterator[dict[str, Any] | None]
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def data(value: dict[str, Any]) -> bytes:
    """One event.

    >>> data({"id": "x"})
    b'data: {"id":"x"}\\n\\n'
    """
    return f"data: {json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}\n\n".encode()


class Stream(Response):
    """Chunks as they come; None is a comment that keeps the line open. A client that leaves ends the iteration."""

    media_type = "text/event-stream"

    def __init__(self, chunks: Chunks) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, Stop(), self._send(send))
        except Abandoned:
            return
        finally:
            await self.chunks.aclose()  # type: ignore[attr-defined]  # it is a generator: its answers are cancelled

    async def _send(self, send: Send) -> None:
        async def write(chunk: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for chunk in self.chunks:
                await write(KEEP_ALIVE if chunk is None else data(chunk))
        except OwnLMError as error:
            await write(data(from_error(error).body()))
        except Exception:
            log.exception("a stream failed")
            await write(data(Problem(500, "The server failed; its log says why", code="failed").body()))
        else:
            await write(DONE)
        await write(b"", more=False)

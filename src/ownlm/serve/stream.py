"""Answers as they come: server-sent events, or the same result as one JSON document.

    event: stage            a name, so that a reader can wait for what it knows
    data: {"stage": ...}    one line of JSON
                            an empty line ends the event; a line ": ..." is a comment that keeps the line open

The last event is ``done`` with the whole result, or ``error`` with OpenAI's error object. A failure before
the first event is a plain HTTP error instead, because the status line has not been sent yet.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ownlm.errors import OwnLMError
from ownlm.serve.problem import Problem, from_error
from ownlm.serve.work import Abandoned, Gate, Stop, while_connected

log = logging.getLogger(__name__)

Emit = Callable[[str, Any], None]
Work = Callable[[Emit, Stop], dict[str, Any]]

KEEP_ALIVE = b": waiting\n\n"
END = b""  # no event is empty


def event(name: str, data: Any) -> bytes:
    """One server-sent event.

    >>> event("stage", {"stage": "reading"})
    b'event: stage\\ndata: {"stage":"reading"}\\n\\n'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


def wants_events(request: Request) -> bool:
    """Events unless the client asks for JSON and not for events."""
    accept = request.headers.get("accept", "")
    return "application/json" not in accept or "text/event-stream" in accept


def respond(request: Request, gate: Gate, work: Work, keep_alive_seconds: float) -> Response:
    """Do ``work`` on a thread and send what it emits and returns, in the form that the client asked for."""
    if wants_events(request):
        return EventStream(gate, work, keep_alive_seconds)
    return _Whole(gate, work)


def _in_terms_of_http(error: Exception) -> Problem:
    """An expected error as it is; an unforeseen one into the log, and a bare word to the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OwnLMError):
        return from_error(error)
    log.error("a request's work failed", exc_info=error)
    return Problem(500, "The server failed; its log says why", code="failed")


class _Whole(Response):
    """The result as one JSON document; what is emitted on the way is not sent."""

    def __init__(self, gate: Gate, work: Work) -> None:
        super().__init__()
        self.gate = gate
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stop = Stop()

        def emit(name: str, data: Any) -> None:
            stop.check()

        try:
            result = await while_connected(receive, stop, self.gate.run(self.work, emit, stop))
        except Abandoned:
            return
        except Exception as error:
            await _in_terms_of_http(error).response()(scope, receive, send)
            return
        await JSONResponse(result)(scope, receive, send)


class EventStream(Response):
    """What the work emits, as it comes."""

    media_type = "text/event-stream"

    def __init__(self, gate: Gate, work: Work, keep_alive_seconds: float) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.gate = gate
        self.work = work
        self.keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stop = Stop()
        try:
            await while_connected(receive, stop, self._stream(scope, receive, send, stop))
        except Abandoned:
            return

    async def _stream(self, scope: Scope, receive: Receive, send: Send, stop: Stop) -> None:
        # Unbounded, but small: a request has tens of events, and the thread must not wait for a slow reader.
        sink, source = anyio.create_memory_object_stream[bytes](math.inf)
        failure: list[Exception] = []

        def emit(name: str, data: Any) -> None:
            stop.check()
            anyio.from_thread.run_sync(sink.send_nowait, event(name, data))

        async def produce() -> None:
            try:
                result = await self.gate.run(self.work, emit, stop)
                sink.send_nowait(event("done", result))
            except Exception as error:
                failure.append(error)
            sink.send_nowait(END)

        started = False

        async def write(chunk: bytes, *, more: bool = True) -> None:
            nonlocal started
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": chunk, "more_body": more})

        async def keep_alive() -> None:
            while True:
                await anyio.sleep(self.keep_alive_seconds)
                sink.send_nowait(KEEP_ALIVE)

        async with anyio.create_task_group() as group, sink, source:
            group.start_soon(produce)
            group.start_soon(keep_alive)
            while (chunk := await source.receive()) != END:
                await write(chunk)
            group.cancel_scope.cancel()
        if not failure:
            await write(b"", more=False)
        elif started:
            await write(event("error", _in_terms_of_http(failure[0]).body()["error"]), more=False)
        else:
            await _in_terms_of_http(failure[0]).response()(scope, receive, send)

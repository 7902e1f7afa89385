"""The outermost layer: every response leaves with the same headers, and no failure leaves without an answer."""

from __future__ import annotations

import logging
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ownlm.serve.problem import Problem

log = logging.getLogger(__name__)

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"  # no script can make HTML from text
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
PRIVATE = ("/api/", "/v1/", "/openapi.json", "/tokenize", "/detokenize", "/metrics")


class Envelope:
    """Adds security headers and ``x-request-id``; turns an unforeseen exception into a 500 that tells no secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = False

        async def enveloped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["x-request-id"] = request_id
                if scope["path"].startswith(PRIVATE):
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            await self.app(scope, receive, enveloped)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise
            problem = Problem(500, f"The server failed; its log says why (request {request_id})", code="failed")
            await problem.response()(scope, receive, enveloped)

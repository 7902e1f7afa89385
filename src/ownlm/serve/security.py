"""Who may ask. No web page may read private documents through the port, and off localhost a key is needed.

Each rule looks at a request's head and returns the reason to refuse it, or None. They run in this order:

    host     the Host header names this server          421   (DNS rebinding)
    origin   the request comes from our own page        403   (other sites, other ports of localhost)
    key      it carries the API key, where one is set   401
    body     a change of state carries JSON             415   (forms and simple cross-site requests cannot)

There are no CORS headers anywhere, so a browser gives no other page an answer either.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ownlm.serve.problem import Problem
from ownlm.serve.settings import Settings

Rule = Callable[[Scope, Headers, Settings], Problem | None]

READS = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?")


def authority(value: str, default_port: str = "80") -> tuple[str, str] | None:
    """A Host header's name in lower case and port, or None where it is malformed.

    >>> authority("LOCALHOST:8123"), authority("[::1]"), authority("user@localhost")
    (('localhost', '8123'), ('::1', '80'), None)
    """
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        return None
    return (match[1] or match[2]).lower(), match[3] or default_port


def is_public(scope: Scope) -> bool:
    """The page's own files and the health check hold nothing private."""
    path = scope["path"]
    return path in {"/", "/health"} or path.startswith("/ui/")


def host(scope: Scope, headers: Headers, settings: Settings) -> Problem | None:
    """The Host header must name this machine, or a name that was configured."""
    values = headers.getlist("host")
    found = authority(values[0]) if len(values) == 1 else None
    if found is not None and found[0] in settings.hosts:
        return None
    shown = found[0] if found else ", ".join(values) or "missing"
    return Problem(
        421, f"This server does not answer to the host {shown!r}: add it with --allow-host", code="host_not_allowed"
    )


def origin(scope: Scope, headers: Headers, settings: Settings) -> Problem | None:
    """A browser says where a request comes from; only our own page and the address bar may ask."""
    refusal = Problem(403, "Requests from other web pages are refused", code="origin_not_allowed")
    for value in headers.getlist("origin"):
        scheme, _, rest = value.partition("://")
        default = {"http": "80", "https": "443"}.get(scheme.lower())
        if default is None or authority(rest, default) != authority(headers["host"], default):
            return refusal
    site = headers.get("sec-fetch-site", "none").lower()
    if site not in {"same-origin", "none"} and not _opens_the_page(scope, headers):
        return refusal
    return None


def _opens_the_page(scope: Scope, headers: Headers) -> bool:
    """A link elsewhere may open the page in a tab (it holds nothing private), and nothing else."""
    return (
        scope["method"] == "GET"
        and scope["path"] == "/"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def key(scope: Scope, headers: Headers, settings: Settings) -> Problem | None:
    """Where a key is set, everything but the page's own files needs it."""
    if settings.api_key is None or is_public(scope):
        return None
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    given = bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
    if given and hmac.compare_digest(_digest(given), _digest(settings.api_key)):
        return None
    message = (
        "The API key is wrong" if given else "An API key is needed: send Authorization: Bearer KEY or x-api-key: KEY"
    )
    return Problem(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def _digest(text: str) -> bytes:
    """Equal lengths, so that comparing takes the same time whatever was given."""
    return hashlib.sha256(text.encode()).digest()


def body(scope: Scope, headers: Headers, settings: Settings) -> Problem | None:
    """What changes state must be JSON: a web page cannot send that elsewhere without asking first."""
    if scope["method"] in READS:
        return None
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    empty = headers.get("content-length", "0").strip() == "0" and "transfer-encoding" not in headers
    if media_type == "application/json" and not empty:
        return None
    return Problem(415, "This request needs a JSON body with Content-Type: application/json", code="json_body_required")


RULES: tuple[Rule, ...] = (host, origin, key, body)


class Guard:
    """ASGI middleware that applies the rules before anything else sees the request."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        for rule in RULES:
            problem = rule(scope, headers, self.settings)
            if problem is not None:
                await problem.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)

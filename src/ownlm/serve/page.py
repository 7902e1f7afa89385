"""The page: a handful of static files, read once, so that no path of a request ever meets the disk."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from ownlm.serve.problem import Problem

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _static_files() -> dict[str, tuple[bytes, str]]:
    """File name -> (bytes, media type)."""
    found = {}
    for file in files("ownlm.serve").joinpath("ui").iterdir():
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type:
            found[file.name] = (file.read_bytes(), f"{media_type}; charset=utf-8")
    return found


def router() -> APIRouter:
    """``/`` and ``/ui/FILE``."""
    routes = APIRouter()
    static = _static_files()

    def send(name: str, request: Request) -> Response:
        if name not in static:
            raise Problem(404, f"There is no {request.url.path} here", code="not_found")
        content, media_type = static[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    @routes.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index(request: Request) -> Response:
        """The page itself."""
        return send("index.html", request)

    @routes.api_route("/ui/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        """A file of the page."""
        return send(name, request)

    return routes

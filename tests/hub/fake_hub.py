"""A Hub on this machine: the routes that ``huggingface_hub`` uses to list and load the files of a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """``files``: by model and name. ``large`` from so many bytes on, a file has a SHA-256 and ranges."""

    files: dict[str, dict[str, bytes]]
    url: str = ""
    large: int = 1000
    break_after: int | None = None
    """Bytes of a body after which the connection is closed, and the server is down."""
    down: bool = False
    corrupt: bool = False
    gated: bool = False
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def downloads(self) -> list[tuple[str, str]]:
        """Files that were loaded, each with its range."""
        return [
            (path.rsplit("/", 1)[-1], span)
            for method, path, span in self.requests
            if method == "GET" and "/resolve/" in path
        ]


@contextmanager
def fake_hub(files: dict[str, dict[str, bytes]]) -> Iterator[FakeHub]:
    """A running server."""
    hub = FakeHub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def _answer(self, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            parts = path.strip("/").split("/")
            model = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
            if hub.down:
                self._send(503, b"", {}, body)
            elif model not in hub.files:
                self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
            elif hub.gated:
                self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
            elif parts[0] == "api":
                self._info(model, parts[5] if len(parts) > 5 else "main", body)
            else:
                self._file(hub.files[model].get("/".join(parts[4:])), body)

        def _info(self, model: str, revision: str, body: bool) -> None:
            if revision not in ("main", COMMIT):
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                return
            siblings = [
                {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                | (
                    {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}}
                    if len(data) >= hub.large
                    else {}
                )
                for name, data in hub.files[model].items()
            ]
            info = {
                "id": model,
                "modelId": model,
                "sha": COMMIT,
                "siblings": siblings,
                "tags": [],
                "private": False,
                "downloads": 0,
                "likes": 0,
            }
            self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)

        def _file(self, data: bytes | None, body: bool) -> None:
            if data is None:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
                return
            digest = (hashlib.sha256 if len(data) >= hub.large else hashlib.sha1)(data).hexdigest()
            headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if len(data) >= hub.large:
                headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            status, sent = 200, data
            if hub.corrupt and body:
                sent = bytes([data[0] ^ 1]) + data[1:]
            span = self.headers.get("Range")
            if span and body:
                start = int(span.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                status, sent = 206, sent[start:]
            self._send(status, sent, headers, body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not body:
                return
            if hub.break_after is not None and len(data) > hub.break_after:
                self.wfile.write(data[: hub.break_after])
                self.wfile.flush()
                hub.down = self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Serve until Ctrl-C: bind, say where, answer, and on the way out finish what was begun."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn

from ownlm.errors import InvalidSetting
from ownlm.serve.app import create_app
from ownlm.serve.descriptors import allow_many
from ownlm.serve.settings import Settings

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM
    from ownlm.rag.library import Library

BACKLOG = 2048
SWITCH_SECONDS = 0.0005
"""How long a thread that writes JSON may keep the interpreter from the engine's, when a step is done."""


def bind(settings: Settings) -> socket.socket:
    """A socket at the address; it does not listen yet, so nobody waits at it.

    Raises InvalidSetting when the address is taken, not allowed or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise InvalidSetting("--host", settings.host, "no address has this name; give one of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _in_words(error, settings) from error
    return listener


def _in_words(error: OSError, settings: Settings) -> InvalidSetting:
    if error.errno == errno.EADDRINUSE:
        return InvalidSetting("--port", settings.port, "another program uses it; give another, or 0 for any free one")
    if error.errno == errno.EACCES:
        return InvalidSetting("--port", settings.port, "this user may not use it; give one from 1024 up")
    return InvalidSetting(
        "--host", settings.host, f"cannot listen there ({error.strerror}); give an address of this machine"
    )


def address(listener: socket.socket, settings: Settings) -> str:
    """Where a browser on this machine finds the page."""
    port = listener.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 (not a binding)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def server(library: Library | None, settings: Settings, llm: LLM | None = None) -> uvicorn.Server:
    """An HTTP server that waits for a listening socket."""
    config = uvicorn.Config(
        create_app(library, settings, llm=llm),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        timeout_keep_alive=30,
        lifespan="off",
        ws="none",
        proxy_headers=False,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def _ending_quietly() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, and nothing else: uvicorn raises them again once it has drained."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    library: Library | None,
    settings: Settings,
    *,
    llm: LLM | None = None,
    listener: socket.socket | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``on_ready`` is told the address once connections are accepted.

    ``listener`` is what ``bind`` gave, for one who wants to know that the address is free before other work.

    The first Ctrl-C stops accepting and waits ``drain_seconds`` for answers under way; a second one does not wait.
    Library and model stay open: they are the caller's. Raises InvalidSetting when the address cannot be had.
    """
    listener = listener or bind(settings)
    allow_many()
    if llm is not None:
        sys.setswitchinterval(SWITCH_SECONDS)
    with contextlib.closing(listener), _ending_quietly():
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            raise _in_words(error, settings) from error
        if on_ready is not None:
            on_ready(address(listener, settings))
        server(library, settings, llm).run(sockets=[listener])

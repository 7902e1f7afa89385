"""How the server is reached, by whom, and how much it takes on at once."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field

from ownlm.errors import InvalidSetting

MIB = 1024 * 1024
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def usable_cpus() -> int:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server can be told. A value it cannot honour raises ``InvalidSetting`` here, not later.

    ``allowed_hosts`` are names that the Host header may carry besides localhost and a specific ``host``.
    ``lenient``: fields of OpenAI's requests that are not understood are named in ``warnings`` instead of refused.
    ``workers`` questions are computed at once, ``max_waiting`` more may wait; the next are told to retry.
    """

    host: str = "127.0.0.1"
    port: int = 8123
    api_key: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 64 * MIB  # as much as a reader takes
    max_body_bytes: int = 4 * MIB
    workers: int = field(default_factory=lambda: max(2, usable_cpus()))
    max_waiting: int = 1024
    keep_alive_seconds: float = 10.0
    drain_seconds: int = 15
    lenient: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidSetting("--port", self.port, "give a port from 0 (any free one) to 65535")
        for setting, names in (("--host", (self.host,)), ("--allow-host", self.allowed_hosts)):
            for name in names:
                if not _HOST.fullmatch(name):
                    raise InvalidSetting(
                        setting, name, "give a host name or an address, without port, path or brackets"
                    )
        if self.api_key is not None:
            _check_key(self.api_key)
        elif not is_loopback(self.host):
            raise InvalidSetting(
                "--host", self.host, "other machines could read your documents; set --api-key, or bind 127.0.0.1"
            )
        for setting in ("max_upload_bytes", "max_body_bytes", "workers", "max_waiting", "drain_seconds"):
            if getattr(self, setting) < 1:
                raise InvalidSetting(setting, getattr(self, setting), "give at least 1")
        if self.keep_alive_seconds <= 0:
            raise InvalidSetting("keep_alive_seconds", self.keep_alive_seconds, "give a positive number of seconds")

    @property
    def hosts(self) -> frozenset[str]:
        """The names that a Host header may carry, in lower case."""
        bound = () if self.host in {"0.0.0.0", "::"} else (self.host,)  # noqa: S104 (a comparison, not a binding)
        return LOOPBACK_NAMES | {name.lower() for name in (*bound, *self.allowed_hosts)}


def _check_key(key: str) -> None:
    """Refuse a key that a header cannot carry or that can be guessed; never print it."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidSetting("--api-key", "***", "use printable ASCII characters without spaces")
    if len(key) < 8:
        raise InvalidSetting("--api-key", "***", "use at least 8 characters, so that it cannot be guessed")

"""Open files: a connection is one. Many systems allow a process 256 or 1024 of them until it asks for more."""

from __future__ import annotations

import contextlib
import sys

WANTED = 8192  # macOS grants no more than 10240


def allow_many() -> None:
    """Raise this process's limit as far as it may; where it may not, it stays, and connections beyond it wait."""
    if sys.platform == "win32":  # it has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

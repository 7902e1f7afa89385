"""The process that parses: reads documents from its standard input, answers on its standard output.

Started by ``ReaderPool`` as ``python -m ownlm.rag.readers.worker MEMORY_BYTES``. It imports a reader's library
when the first document of that kind comes.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import BinaryIO

from ownlm.errors import DocumentError, DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers import protocol
from ownlm.rag.readers.limits import Limits


def main() -> None:
    """Serve until the input ends."""
    with _private_output() as output:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        _limit_process(int(sys.argv[1]))
        for optional in ("numpy", "pandas"):  # openpyxl loads them if it can: 150 ms and half the memory limit
            sys.modules[optional] = None  # type: ignore[assignment]
        source = sys.stdin.buffer
        while serve_one(source, output):
            pass


def _private_output() -> BinaryIO:
    """The pipe to the parent; what a library prints goes nowhere near it."""
    private = os.dup(1)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(private, os.O_BINARY)
        msvcrt.setmode(0, os.O_BINARY)
    return os.fdopen(private, "wb")


def serve_one(source: BinaryIO, output: BinaryIO) -> bool:
    """Answer one request; False when there is none or when this process should not take another."""
    try:
        header = protocol.read_message(lambda size: protocol.exactly(source.read, size), protocol.MAX_REQUEST)
        data = protocol.exactly(source.read, header["size"])
    except EOFError:
        return False
    limits = Limits(**header["limits"])
    _limit_cpu(limits.cpu_seconds)
    fresh = True
    try:
        from ownlm.rag.readers.read import read

        answer = protocol.success(read(data, header["name"], limits))
    except DocumentError as error:
        answer = protocol.failure(error)
    except MemoryError:
        answer = protocol.failure(DocumentTooLarge("needs more memory than its reader may use"), last=True)
        fresh = False
    except Exception as error:  # a parser may raise anything over damaged input
        reason = f"is damaged or not what its name says: {type(error).__name__}"
        answer = protocol.failure(UnreadableDocument(reason))
    output.write(answer)
    output.flush()
    return fresh


def _limit_process(memory: int) -> None:
    """Bound the address space; no files written, no processes, no core dumps. Where the system cannot, it does not."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in (("RLIMIT_AS", memory), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, hard))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS below what is mapped already
            continue


def _limit_cpu(seconds: int) -> None:
    """Let this document use ``seconds`` more of processor time: then SIGXCPU ends the process."""
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + int(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    main()

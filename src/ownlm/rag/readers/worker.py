"""The process that parses: reads documents from its standard input, answers on its standard output.

Started by ``ReaderPool`` as ``python -m ownlm.rag.readers.worker MEMORY_BYTES``. It imports a reader's library
when the first document of that kind comes.
"""

from __future__ import annotations

import signal
import sys
from typing import BinaryIO

from ownlm.errors import DocumentError, DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers import protocol
from ownlm.rag.readers.limits import Limits
from ownlm.worker import frames
from ownlm.worker.child import limit_cpu, limit_process, private_output


def main() -> None:
    """Serve until the input ends."""
    with private_output() as output:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        limit_process(int(sys.argv[1]))
        for optional in ("numpy", "pandas"):  # openpyxl loads them if it can: 150 ms and half the memory limit
            sys.modules[optional] = None  # type: ignore[assignment]
        source = sys.stdin.buffer
        while serve_one(source, output):
            pass


def serve_one(source: BinaryIO, output: BinaryIO) -> bool:
    """Answer one request; False when there is none or when this process should not take another."""
    try:
        header = frames.read_message(lambda size: frames.exactly(source.read, size), protocol.MAX_REQUEST)
        data = frames.exactly(source.read, header["size"])
    except EOFError:
        return False
    limits = Limits(**header["limits"])
    limit_cpu(limits.cpu_seconds)
    fresh = True
    try:
        from ownlm.rag.readers.read import read

        answer = protocol.success(read(data, header["name"], limits))
    except DocumentError as error:
        answer = protocol.failure(error)
    except MemoryError:
        answer = protocol.failure(DocumentTooLarge("needs more memory than its reader may use"), last=True)
        fresh = False
    except ImportError as error:
        answer = protocol.failure(UnreadableDocument(f"its reader cannot be loaded: {error}"))
    except Exception as error:  # a parser may raise anything over damaged input
        reason = f"is damaged or not what its name says: {type(error).__name__}"
        answer = protocol.failure(UnreadableDocument(reason))
    output.write(answer)
    output.flush()
    return fresh


if __name__ == "__main__":
    main()

"""The process that renders chat templates: jobs on its standard input, texts on its standard output.

    request    {"template", "cpu_seconds", "jobs": [{"variables": {...}, "marks": [before, after]}]}
    response   {"results": [{"text"} or {"error"}], "last"}

Started by ``template_pool.py`` as ``python -m ownlm.tokenizer.template_worker MEMORY_BYTES``.
"""

from __future__ import annotations

import signal
import sys
from functools import lru_cache
from typing import Any, BinaryIO

from ownlm.worker.child import limit_cpu, limit_process, private_output
from ownlm.worker.frames import exactly, frame, read_message

MAX_REQUEST = 1 << 30  # the parent holds its own, lower limit


def main() -> None:
    """Serve until the input ends."""
    with private_output() as output:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        limit_process(int(sys.argv[1]))
        source = sys.stdin.buffer
        while serve_one(source, output):
            pass


def serve_one(source: BinaryIO, output: BinaryIO) -> bool:
    """Answer one request; False when there is none or when this process should not take another."""
    try:
        request = read_message(lambda size: exactly(source.read, size), MAX_REQUEST)
    except EOFError:
        return False
    limit_cpu(request["cpu_seconds"])
    last = False
    results: list[dict[str, str]] = []
    try:
        for job in request["jobs"]:
            results.append(_render(request["template"], job))
        answer = frame({"results": results})
    except MemoryError:
        last = True
        results.clear()
        answer = frame({"results": [{"error": "it needs more memory than a template may use"}], "last": True})
    output.write(answer)
    output.flush()
    return not last


def _render(template: str, job: dict[str, Any]) -> dict[str, str]:
    from ownlm.tokenizer.template_environment import Generation

    Generation.marks = tuple(job["marks"])
    try:
        return {"text": _compiled(template).render(**job["variables"])}
    except MemoryError:
        raise
    except Exception as error:  # a template may raise anything
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    import jinja2

    line = f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
    name = "" if type(error) is jinja2.TemplateError else f"{type(error).__name__}: "
    return f"{name}{error}{line}"[:1000]


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    from ownlm.tokenizer.template_environment import environment

    return environment().from_string(template)


if __name__ == "__main__":
    main()

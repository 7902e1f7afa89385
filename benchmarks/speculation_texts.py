"""Prompts with the answers that somebody wrote to them: quotations, edited code, free text.

Documents are those of ``examples/handbook``, answers are in ``speculation_texts.toml``. Code is the standard library's,
edited by rules. Free text is also what pages of Python's manual and of the handbook go on with.
"""

from __future__ import annotations

import inspect
import re
import shutil
import statistics
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from pydoc_data import topics
from typing import Any, NamedTuple

HANDBOOK = Path(__file__).parents[1] / "examples" / "handbook"
TEXTS = Path(__file__).with_suffix(".toml")
KINDS = ("quoting", "code editing", "free text")
LONG_LINE = r"{0}if not isinstance(parts, int):\n{0}    raise TypeError(f'parts is {{parts!r}}')\n{0}if parts < 1:"


class Pair(NamedTuple):
    """A prompt and what is to be written; ``kind`` is one of KINDS."""

    kind: str
    name: str
    prompt: str
    answer: str


def pairs() -> list[Pair]:
    """All of them; the same on every machine, but for the standard library's own changes."""
    written = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    return [*map(_quoting, written["quoting"]), *_editing(), *map(_free, written["free"]), *_going_on()]


def _quoting(entry: dict[str, Any]) -> Pair:
    for quotation in re.findall(r'"([^"]+)"', entry["answer"]):
        assert any(quotation in _read(path) for path in entry["documents"]), f"not in the documents: {quotation}"
    wish = f"Answer from the documents, in their own words. Question: {entry['question']}"
    return Pair("quoting", entry["name"], _asked(entry["documents"], wish), entry["answer"])


def _free(entry: dict[str, Any]) -> Pair:
    return Pair("free text", entry["name"], _asked(entry.get("documents", []), entry["prompt"]), entry["answer"])


def _asked(paths: list[str], wish: str) -> str:
    documents = "".join(f"[{number}] {_read(path)}\n\n" for number, path in enumerate(paths, 1))
    return f"{documents}{wish}\n\n"


def _read(path: str) -> str:
    return (HANDBOOK / path).read_text(encoding="utf-8")


def _editing() -> list[Pair]:
    found = []
    for source, wish, edits in EDITING:
        before = after = textwrap.dedent(inspect.getsource(source))
        for pattern, replacement in edits:
            after, count = re.subn(pattern, replacement, after)
            assert count, f"{source.__name__} has no {pattern}"
        prompt = f"```python\n{before}```\n\n{wish} Give the whole function.\n\n```python\n"
        found.append(Pair("code editing", source.__name__, prompt, after + "```\n"))
    return found


def _going_on() -> list[Pair]:
    found = []
    for topic in ("compound", "typesmodules", "execmodel"):
        if len(text := topics.topics.get(topic, "")) > 3000:
            found.append(Pair("free text", f"the manual, {topic}", text[:2000], text[2000:3200]))
    for path in ("letters/studio-9-damp-2025.txt", "shop/makers-guide.md"):
        half = len(text := _read(path)) // 2
        found.append(Pair("free text", f"the handbook, {Path(path).stem}", text[:half], text[half:]))
    return found


EDITING: list[tuple[Callable[..., object], str, list[tuple[str, str]]]] = [
    (textwrap.wrap, "Rename `width` to `columns`.", [(r"\bwidth\b", "columns")]),
    (
        shutil.copyfileobj,
        "Count the bytes, and return how many were copied.",
        [
            (r"(?m)^(\s+)(fsrc_read = )", r"\1copied = 0\n\1\2"),
            (r"(?m)^(\s+)(fdst_write\(buf\))$", r"\1\2\n\1copied += len(buf)"),
            (r"\Z", "    return copied\n"),
        ],
    ),
    (
        statistics.quantiles,
        "Call the parameter `n` `parts`, and raise a TypeError if it is no int.",
        [(r"\bn\b(?!')", "parts"), (r"(?m)^(\s+)if parts < 1:", LONG_LINE.format(r"\1"))],
    ),
    (
        inspect.cleandoc,
        "Add type hints, and call the list of lines `rows`.",
        [(r"def cleandoc\(doc\)", "def cleandoc(doc: str) -> str"), (r"\blines\b", "rows")],
    ),
    (
        shutil.which,
        "Also say on standard error where it looked, if `verbose` is true.",
        [
            (r"path=None\):", "path=None, verbose=False):"),
            (
                r"(?m)^(\s+)(name = os\.path\.join\(dir, thefile\))$",
                r"\1\2\n\1if verbose:\n\1    print(name, file=sys.stderr)",
            ),
        ],
    ),
]

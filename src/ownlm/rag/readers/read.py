"""From bytes and a name to the reader of their format."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath

from ownlm.rag.readers.detect import detect
from ownlm.rag.readers.limits import Limits
from ownlm.rag.types import Extracted

# kind -> module; its ``read(data, name, limits)``, or with a media type as fourth argument
_TEXTS = {
    "text": "text/plain",
    "json": "application/json",
    "yaml": "application/yaml",
    "toml": "application/toml",
    "xml": "application/xml",
}


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    """Extract text and marks. Raises DocumentError; a parser may raise anything else over damaged input."""
    kind = detect(data, name)
    if kind in _TEXTS:
        from ownlm.rag.readers import text

        return text.read(data, name, limits, _TEXTS[kind])
    extracted: Extracted = import_module(f"ownlm.rag.readers.{kind}").read(data, name, limits)
    if extracted.title:
        return extracted
    from dataclasses import replace

    return replace(extracted, title=PurePath(name).stem)

"""Office files are zip archives whose writers stamp the clock into them; this takes the clock out again."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime

_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*(</dcterms:modified>)")


def settle(data: bytes, date: datetime) -> bytes:
    """The same archive with every time set to ``date``, in the same order."""
    out = io.BytesIO()
    stamp = date.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = _MODIFIED.sub(rb"\g<1>" + stamp + rb"\g<2>", content)
            add(new, name, content, date)
    return out.getvalue()


def add(archive: zipfile.ZipFile, name: str, content: bytes, date: datetime, *, stored: bool = False) -> None:
    """Write one member with a fixed time and fixed permissions."""
    info = zipfile.ZipInfo(name, date.timetuple()[:6])
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)

"""A corpus written down: a TOML file with a table for each source.

[[source]]
name = "wikipedia"
path = "wikipedia.jsonl.xz"     # beside this file, or absolute
licence = "CC BY-SA 3.0"
weight = 2                      # and text, split, format, separator, pattern, as in ``Source``
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidData, NotFound
from ownlm.train.data.source import STDIN, Source

_KINDS: dict[str, type | tuple[type, ...]] = {
    field.name: (int, float) if field.name == "weight" else str for field in fields(Source)
}


def read_corpus(file: Path) -> list[Source]:
    """The sources of the file. Raises NotFound, InvalidData; InvalidSetting for a value that a source cannot have."""
    try:
        value = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"{file} is not there: give a TOML file with a table [[source]] for each source") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidData(file, f"is not valid TOML ({error})", "mend it") from None
    tables = value.pop("source", None)
    if value:
        raise InvalidData(file, f"has {sorted(value)[0]!r}", "only tables [[source]] are read")
    if not isinstance(tables, list) or not tables:
        raise InvalidData(file, "has no table [[source]]", "give one for each source")
    return [_source(file, rank, table) for rank, table in enumerate(tables, 1)]


def _source(file: Path, rank: int, table: Mapping[str, Any]) -> Source:
    where = f"{file}, source {rank}"
    for key, value in table.items():
        if key not in _KINDS:
            raise InvalidData(where, f"has {key!r}", f"known are {', '.join(_KINDS)}")
        if isinstance(value, bool) or not isinstance(value, _KINDS[key]):
            raise InvalidData(where, f"has {key} = {value!r}", f"give a {'number' if key == 'weight' else 'text'}")
    for key in ("name", "path"):
        if key not in table:
            raise InvalidData(where, f"has no {key}", "give one")
    path = table["path"]
    return Source(**{**table, "path": path if path == STDIN else file.parent / path})

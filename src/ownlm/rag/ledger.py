"""The ledger: for every answer what was asked, what was read, with what settings and model, and how long it took.

Entries stay until their documents go: when a document leaves the index, its text leaves the ledger with it, and the
spans and digests of what was quoted stay (``redact``).
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ownlm.errors import InvalidSetting, NotFound
from ownlm.rag.store import Store
from ownlm.rag.store.read import as_text
from ownlm.rag.types import Answer

_COLUMNS = "id, created, question, answer, settings, fingerprint"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer as it was given. ``created`` is in seconds since 1970; ``answer`` is the JSON that ``ask`` printed,
    with its passages and timings; ``fingerprint`` is the encoder's.
    """

    id: str
    created: float
    question: str
    abstained: bool
    answer: dict[str, Any]
    settings: dict[str, Any]
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON that ``ownlm ledger show`` prints."""
        return asdict(self)


def record(store: Store, answer: Answer, settings: Mapping[str, Any], fingerprint: str) -> Answer:
    """Enter an answer; the same answer with its ``ledger_id``. Raises StoreError when it cannot be written."""
    entered = dataclasses.replace(answer, ledger_id=secrets.token_hex(6))
    with store.transaction() as connection:
        connection.execute(
            f"INSERT INTO ledger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (
                entered.ledger_id,
                time.time(),
                entered.question,
                json.dumps(entered.to_dict(), ensure_ascii=False),
                json.dumps(dict(settings)),
                fingerprint,
            ),
        )
    return entered


def list_entries(store: Store, limit: int = 50, offset: int = 0) -> list[Entry]:
    """Entries, newest first. Raises InvalidSetting for a limit below 1 or an offset below 0."""
    if limit < 1:
        raise InvalidSetting("limit", limit, "give 1 or more")
    if offset < 0:
        raise InvalidSetting("offset", offset, "give 0 or more")
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM ledger ORDER BY created DESC, rowid DESC LIMIT ? OFFSET ?", (limit, offset)
        ).fetchall()
    return [_entry(row) for row in rows]


def count(store: Store) -> int:
    """How many entries there are."""
    with store.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM ledger").fetchone()[0])


def show(store: Store, id: str) -> Entry:
    """One entry by its id. Raises NotFound."""
    with store.reading() as connection:
        row = connection.execute(f"SELECT {_COLUMNS} FROM ledger WHERE id = ?", (as_text(id),)).fetchone()
    if row is None:
        raise NotFound(f"the ledger has no entry {id!r}: ownlm ledger list shows all")
    return _entry(row)


def _entry(row: tuple[str, float, str, str, str, str]) -> Entry:
    id, created, question, answer, settings, fingerprint = row
    given = json.loads(answer)
    return Entry(id, created, question, bool(given["abstained"]), given, json.loads(settings), fingerprint)

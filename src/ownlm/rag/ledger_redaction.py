"""What the ledger forgets when a document leaves the index: its words, in every answer that read them.

Spans stay, with the SHA-256 of what stood there, so that a kept copy of the document can still be checked against the
entry. The question, the settings, the timings and the document's name stay too.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

REMOVED = "[removed with its document]"
_NEEDLE = '"document": '


def redact(connection: sqlite3.Connection, name: str) -> int:
    """Take the words of the document called ``name`` out of every entry; how many entries had any.

    Runs inside the transaction that removes the document.
    """
    needle = _NEEDLE + json.dumps(name, ensure_ascii=False)
    rows = connection.execute("SELECT id, answer FROM ledger WHERE instr(answer, ?)", (needle,)).fetchall()
    for id, answer in rows:
        given = redacted(json.loads(answer), name)
        connection.execute("UPDATE ledger SET answer = ? WHERE id = ?", (json.dumps(given, ensure_ascii=False), id))
    return len(rows)


def redacted(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON of an answer without the words of one document."""
    pieces, claims, at = [], [], 0
    gone = False
    for claim in answer["claims"]:
        citations = [
            _without(citation, "quote") if citation["document"] == name else citation for citation in claim["citations"]
        ]
        cites = any(citation["document"] == name for citation in claim["citations"])
        gone = gone or cites
        text = REMOVED if cites else claim["text"]
        claims.append({**claim, "text": text, "start": at, "end": at + len(text), "citations": citations})
        pieces.append(text)
        at += len(text) + 2
    passages = [_without(passage, "text") if passage["document"] == name else passage for passage in answer["passages"]]
    kept = {**answer, "claims": claims, "passages": passages}
    if gone:
        kept["answer"] = "\n\n".join(pieces)
    return kept


def _without(span: dict[str, Any], field: str) -> dict[str, Any]:
    """A passage or citation with the digest of its words in their place; one already redacted is left as it is."""
    if "sha256" in span:
        return span
    digest = hashlib.sha256(span[field].encode("utf-8", "surrogatepass")).hexdigest()
    return {**span, field: "", "title": "", "heading": [], "sha256": digest}

"""What the ledger forgets when a document leaves the index: its words, in every answer that read them.

Spans stay, with the SHA-256 of what stood there, so that a kept copy of the document can still be checked against the
entry. The question, the settings, the timings and the document's name stay too; of a prompt that held the words, whose
ids would spell them, the digest alone.
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
    rows = connection.execute("SELECT id, answer, settings FROM ledger WHERE instr(answer, ?)", (needle,)).fetchall()
    for id, answer, settings in rows:
        given = redacted(json.loads(answer), name)
        connection.execute(
            "UPDATE ledger SET answer = ?, settings = ? WHERE id = ?",
            (json.dumps(given, ensure_ascii=False), json.dumps(without_prompt(json.loads(settings))), id),
        )
    return len(rows)


def without_prompt(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an answer without its prompt's ids, as 32 bits each, little-endian, in the digest instead."""
    ids = settings.get("prompt_ids")
    if ids is None:
        return settings
    digest = hashlib.sha256(b"".join(id_.to_bytes(4, "little") for id_ in ids)).hexdigest()
    return {**settings, "prompt_ids": None, "prompt_sha256": digest}


def redacted(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON of an answer without the words of one document."""
    pieces, claims, at = [], [], 0
    gone = False
    # What a model wrote without a citation may be the words of any passage that it read.
    read = answer["mode"] == "generate" and any(passage["document"] == name for passage in answer["passages"])
    for claim in answer["claims"]:
        citations = [
            _without(citation, "quote") if citation["document"] == name else citation for citation in claim["citations"]
        ]
        cites = any(citation["document"] == name for citation in claim["citations"]) or (
            read and not claim["citations"]
        )
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

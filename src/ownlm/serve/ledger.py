"""/api/ledger: what was asked, what was answered, and what was read for it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from ownlm.rag import ledger as entries
from ownlm.rag.library import Library
from ownlm.serve.schema import MAX_INTEGER
from ownlm.serve.work import Gate

MAX_PAGE = 1_000


def router(library: Library, reading: Gate) -> APIRouter:
    """The routes, bound to a library."""
    routes = APIRouter(prefix="/api/ledger")

    @routes.get("")
    async def listing(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50, offset: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0
    ) -> dict[str, Any]:
        """Entries, newest first, without what was read."""

        def read() -> dict[str, Any]:
            found = entries.list_entries(library.store, limit, offset)
            listed = [
                {"id": each.id, "created": each.created, "question": each.question, "abstained": each.abstained}
                for each in found
            ]
            return {"entries": listed, "total": entries.count(library.store)}

        return await reading.run(read)

    @routes.get("/{entry}")
    async def show(entry: str) -> dict[str, Any]:
        """One entry whole."""
        return await reading.run(lambda: entries.show(library.store, entry).to_dict())

    return routes

"""POST /api/ask: a grounded answer, stage by stage and claim by claim."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from ownlm.rag.library import Library
from ownlm.serve.schema import AskBody
from ownlm.serve.settings import Settings
from ownlm.serve.stream import Emit, respond
from ownlm.serve.work import Gate, Stop


def router(library: Library, settings: Settings, gate: Gate) -> APIRouter:
    """The route, bound to a library."""
    routes = APIRouter()

    @routes.post("/api/ask")
    async def ask(request: Request, body: AskBody) -> Response:
        """Events: ``stage`` {stage}, ``passages`` {passages}, ``claim`` each, ``done`` with the whole answer."""

        def work(emit: Emit, stop: Stop) -> dict[str, Any]:
            documents = None if body.documents is None else [library.document(key).id for key in body.documents]
            answer = library.ask(
                body.question, documents=documents, on_event=lambda stage, _: emit("stage", {"stage": stage})
            )
            emit("passages", {"passages": [asdict(passage) for passage in answer.passages]})
            for claim in answer.claims:
                emit("claim", asdict(claim))
            return answer.to_dict()

        return respond(request, gate, work, settings.keep_alive_seconds)

    return routes

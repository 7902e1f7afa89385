"""POST /api/ask: a grounded answer, stage by stage and claim by claim."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from ownlm.rag.library import Library
from ownlm.serve.problem import Problem
from ownlm.serve.schema import AskBody
from ownlm.serve.settings import Settings
from ownlm.serve.stream import Emit, respond
from ownlm.serve.work import Gate, Stop

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM


def router(library: Library, settings: Settings, gate: Gate, llm: LLM | None = None) -> APIRouter:
    """The route, bound to a library, and to a model if one may write."""
    routes = APIRouter()

    @routes.get("/api/writer")
    async def writer() -> dict[str, Any]:
        """The model that may write, how long its texts may be, and how fast it has been; null without one."""
        if llm is None:
            return {"writer": None}
        done = llm.stats().counters
        speed = done.generated_tokens / done.busy_seconds if done.busy_seconds > 0 else None
        return {"writer": {"name": llm.name, "context": llm.context, "chat": llm.chat_template is not None},
                "tokens_per_second": speed}  # fmt: skip

    @routes.post("/api/ask")
    async def ask(request: Request, body: AskBody) -> Response:
        """Events: ``stage`` {stage}, ``text`` {text} as a model writes, ``passages`` {passages}, ``claim`` each,
        ``done`` with the whole answer."""
        if body.mode == "generate" and llm is None:
            raise Problem(400, "mode is generate: this server runs no model (start it with --model)", code="no_model",
                          param="mode")  # fmt: skip

        def work(emit: Emit, stop: Stop) -> dict[str, Any]:
            documents = None if body.documents is None else [library.document(key).id for key in body.documents]

            def report(stage: str, data: Any) -> None:
                emit(*(("text", {"text": data}) if stage == "text" else ("stage", {"stage": stage})))

            if body.mode == "generate":
                from ownlm.rag.generate.generator import LocalGenerator

                assert llm is not None
                answer = library.write(body.question, LocalGenerator(llm), documents=documents, on_event=report)
            else:
                answer = library.ask(body.question, documents=documents, on_event=report)
            emit("passages", {"passages": [asdict(passage) for passage in answer.passages]})
            for claim in answer.claims:
                emit("claim", asdict(claim))
            return answer.to_dict()

        return respond(request, gate, work, settings.keep_alive_seconds)

    return routes

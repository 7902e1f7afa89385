"""The application: routes over a library, behind the guard.

request -> Envelope (headers, request id, no failure unanswered)
        -> Guard    (host, origin, key, JSON)
        -> BodyLimit
        -> routes   (JSON at the edge; the synchronous core on threads, through a Gate)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

import ownlm
from ownlm.errors import OwnLMError
from ownlm.serve import ask, documents, embeddings, ledger, page
from ownlm.serve.body import BodyLimit
from ownlm.serve.envelope import Envelope
from ownlm.serve.problem import Problem, from_error, from_status, from_validation
from ownlm.serve.security import Guard
from ownlm.serve.settings import Settings
from ownlm.serve.work import Abandoned, Gate

if TYPE_CHECKING:
    from ownlm.engine.llm import LLM
    from ownlm.rag.library import Library

READERS = 4
CLIENT_LEFT = 499  # as nginx calls it


def create_app(library: Library | None, settings: Settings | None = None, *, llm: LLM | None = None) -> FastAPI:
    """The ASGI application over a library (documents, answers, the page), a language model, or both.

    It closes neither.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="OwnLM",
        version=ownlm.__version__,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    # The last added is the outermost.
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Envelope)

    # What computes waits in one line; a quick read (a list, a page of text) does not stand behind it.
    computing = Gate(settings.workers, settings.max_waiting)
    reading = Gate(READERS, settings.max_waiting)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Says that the server answers, and nothing about what it holds."""
        return {"status": "ok"}

    if library is not None:
        app.include_router(page.router())
        app.include_router(ask.router(library, settings, computing, llm))
        app.include_router(documents.router(library, settings, reading))
        app.include_router(ledger.router(library, reading))
    encoder = library if library is not None else embeddings.Encoder()
    app.include_router(embeddings.router(encoder, computing, [llm.name] if llm is not None else []))
    if llm is not None:
        _write(app, llm, settings)
        if library is not None:
            library.store.on_purge.append(llm.engine.purge)
    _answer_errors(app)
    return app


def _write(app: FastAPI, llm: LLM, settings: Settings) -> None:
    """The routes of a language model. Preparing a request (template, grammar) takes a thread; waiting takes none."""
    from ownlm.serve.openai import chat, completions, metrics, tokens
    from ownlm.serve.openai.timings import Timings

    preparing, timings = Gate(settings.workers, settings.max_waiting), Timings()
    app.include_router(chat.router(llm, settings, preparing, timings))
    app.include_router(completions.router(llm, settings, preparing, timings))
    app.include_router(tokens.router(llm, settings, preparing))
    app.include_router(metrics.router(llm, timings))


def _answer_errors(app: FastAPI) -> None:
    """Every refusal in the same shape, the framework's own included."""

    @app.exception_handler(OwnLMError)
    async def expected(request: Request, error: OwnLMError) -> Response:
        return from_error(error).response()

    @app.exception_handler(Abandoned)
    async def abandoned(request: Request, error: Abandoned) -> Response:
        return Response(status_code=CLIENT_LEFT)  # nobody reads it

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return from_validation(list(error.errors())).response()

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if isinstance(error, Problem):
            return error.response()
        detail = f"{error.detail}: {request.method} {request.url.path}"
        return from_status(error.status_code, detail, error.headers).response()

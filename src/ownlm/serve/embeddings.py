"""GET /v1/models and POST /v1/embeddings, as OpenAI's clients expect them.

Source: the OpenAI API reference, "Embeddings" and "Models". Nothing is cut: a text that the encoder cannot
read whole is refused with its length and the limit.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from fastapi import APIRouter

from ownlm import hub
from ownlm.serve.problem import Problem
from ownlm.serve.schema import EmbeddingsBody
from ownlm.serve.work import Gate

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder

SPECIAL_TOKENS = 2  # [CLS] and [SEP], which the encoder reads too


class HasEmbedder(Protocol):
    """A library, or an encoder alone."""

    @property
    def model(self) -> str | None: ...

    @property
    def embedder(self) -> Embedder: ...


class Encoder:
    """The encoder that ships, loaded at first use."""

    model = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        with self._lock:
            if self._embedder is None:
                from ownlm.engine.embedder import Embedder

                self._embedder = Embedder.load()
            return self._embedder


def model_entry(library: HasEmbedder) -> dict[str, Any]:
    """The encoder as OpenAI lists a model."""
    return {"id": model_id(library), "object": "model", "created": 0, "owned_by": "ownlm"}


def model_id(library: HasEmbedder) -> str:
    """The name of the encoder's folder."""
    return hub.resolve(library.model).name


def router(library: HasEmbedder, gate: Gate, writers: Sequence[str] = ()) -> APIRouter:
    """The routes, bound to a library; ``writers`` are the ids of models that write, which come first in the list."""
    routes = APIRouter(prefix="/v1")

    def entries() -> list[dict[str, Any]]:
        own = [{"id": name, "object": "model", "created": 0, "owned_by": "ownlm"} for name in writers]
        return [*own, model_entry(library)]

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """What answers here."""
        return {"object": "list", "data": await gate.run(entries)}

    @routes.get("/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One model, by the id that the list gives."""
        known = {entry["id"]: entry for entry in await gate.run(entries)}
        if model not in known:
            there = ", ".join(map(repr, known))
            raise Problem(
                404, f"The model {model!r} is not here; there is {there}", code="model_not_found", param="model"
            )
        return known[model]

    @routes.post("/embeddings")
    async def embeddings(body: EmbeddingsBody) -> dict[str, Any]:
        """One vector of unit length for each text, in order."""
        return await gate.run(_embed, library, body)

    return routes


def _check_model(given: str, known: str) -> None:
    if given != known:
        raise Problem(404, f"The model {given!r} is not here; {known!r} is", code="model_not_found", param="model")


def _embed(library: HasEmbedder, body: EmbeddingsBody) -> dict[str, Any]:
    model, embedder = model_id(library), library.embedder
    _check_model(body.model, model)
    if body.dimensions is not None and body.dimensions != embedder.dimension:
        raise Problem(
            400,
            f"dimensions is {body.dimensions}: {model} gives {embedder.dimension}, and its vectors cannot be cut",
            code="invalid_value",
            param="dimensions",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    tokens = 0
    for index, text in enumerate(texts):
        name = "input" if isinstance(body.input, str) else f"input[{index}]"
        if not text.strip():
            raise Problem(400, f"{name} is empty: there is nothing to embed", code="invalid_value", param=name)
        count = embedder.count_tokens(text) + SPECIAL_TOKENS
        if count > embedder.max_length:
            raise Problem(
                400,
                f"{name} has {count} tokens; {model} reads at most {embedder.max_length}: split it",
                code="context_length_exceeded",
                param=name,
            )
        tokens += count
    vectors = embedder.encode(texts)
    as_base64 = body.encoding_format == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector.tolist()}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    """Little-endian float32, as OpenAI's clients decode it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")

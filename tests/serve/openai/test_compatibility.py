"""The table of fields says what the server does, and knows every field that the current client can send."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from ownlm.serve.openai.compatibility import PARTS, REFUSED, ROUTES, document

BODIES = dict(ROUTES)


def test_the_table_of_fields_is_up_to_date() -> None:
    path = Path(__file__).parents[3] / "docs" / "api-compatibility.md"
    assert path.read_text("utf-8") == document(), "run: python -m ownlm.serve.openai.compatibility"


@pytest.mark.parametrize(
    ("route", "params"),
    [
        ("POST /v1/chat/completions", chat_create_params.CompletionCreateParamsStreaming),
        ("POST /v1/completions", completion_create_params.CompletionCreateParamsStreaming),
        ("POST /v1/embeddings", embedding_create_params.EmbeddingCreateParams),
    ],
)
def test_every_field_of_the_client_has_a_row(route: str, params: type) -> None:
    theirs = {name for kind in params.__mro__ for name in getattr(kind, "__annotations__", {})}
    theirs |= {name for base in getattr(params, "__orig_bases__", ()) for name in getattr(base, "__annotations__", {})}
    assert "model" in theirs and len(theirs) > 4
    assert theirs <= set(BODIES[route].model_fields) | set(REFUSED.get(route, ()))


def test_what_is_refused_is_no_field_and_every_field_is_described() -> None:
    for route, names in REFUSED.items():
        assert not set(names) & set(BODIES[route].model_fields)
    bodies = [body for route, body in ROUTES if "embeddings" not in route]
    for body in (*bodies, *PARTS):
        assert [name for name, field in body.model_fields.items() if not field.description] == []

"""What may be sent to the server. A field that is not here is refused, so nothing is silently ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_QUESTION = 4_000
MAX_DOCUMENTS = 10_000
MAX_INTEGER = 2**53
MAX_INPUTS = 2_048  # as OpenAI's own


def _unicode(text: str) -> str:
    """JSON can spell half a surrogate pair; no text that can be stored or embedded holds one."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a surrogate pair, which is not text")
    return text


def _asks(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: ask something")
    if len(text) > MAX_QUESTION:
        raise ValueError(f"has {len(text)} characters; at most {MAX_QUESTION} are read")
    return text


def _no_token_ids(value: Any) -> Any:
    """LangChain may send token ids; they come from another model's vocabulary."""
    entries = value if isinstance(value, list) else []
    if any(isinstance(entry, int | list) for entry in entries):
        raise ValueError("token ids are of another model's vocabulary: send text (a string or a list of strings)")
    if not isinstance(value, str | list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError("must be a string or a list of strings")
    if isinstance(value, list) and not 1 <= len(value) <= MAX_INPUTS:
        raise ValueError(f"has {len(value)} entries; give 1 to {MAX_INPUTS}")
    return value


def _names_a_document(value: Any) -> Any:
    """A browser's integers are exact to 53 bits, and a database's have 64."""
    is_id = type(value) is int and 0 <= value <= MAX_INTEGER
    if not is_id and not isinstance(value, str):
        raise ValueError("must be a document's id or name")
    return value


Text = Annotated[str, AfterValidator(_unicode)]


class Body(BaseModel):
    """A JSON object whose every field is known and of its type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Empty(Body):
    """``{}``: says that the request comes from a program and not from a form."""


class AskBody(Body):
    """POST /api/ask. ``mode`` extract quotes; generate lets the server's model write, held to the passages."""

    mode: Literal["extract", "generate"] = "extract"
    question: Annotated[Text, AfterValidator(_asks)]
    documents: (
        Annotated[
            list[Annotated[int | Text, BeforeValidator(_names_a_document)]],
            Field(min_length=1, max_length=MAX_DOCUMENTS),
        ]
        | None
    ) = None


class UploadBody(Body):
    """POST /api/documents: a file, by its name and its bytes in base64.

    ``if_exists`` decides when a file of that name with other bytes was added before.
    """

    name: str
    content_base64: str
    if_exists: Literal["refuse", "replace", "keep_both"] = "refuse"


class EmbeddingsBody(Body):
    """POST /v1/embeddings. ``user`` names OpenAI's customer's customer; it changes no embedding anywhere."""

    model: str
    input: Annotated[Text | list[Text], BeforeValidator(_no_token_ids)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None

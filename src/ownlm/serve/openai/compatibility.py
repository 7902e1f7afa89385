"""``docs/api-compatibility.md``: every field of every route, and what happens to it, from the schema itself.

python -m ownlm.serve.openai.compatibility > docs/api-compatibility.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pydantic import BaseModel

from ownlm.serve.openai.schema import ChatBody, CompletionBody, DetokenizeBody, SamplingBody, TokenizeBody
from ownlm.serve.openai.schema_parts import Function, JsonSchema, NamedTool, ResponseFormat, StreamOptions, Tool
from ownlm.serve.schema import EmbeddingsBody

ROUTES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("POST /v1/chat/completions", ChatBody),
    ("POST /v1/completions", CompletionBody),
    ("POST /v1/embeddings", EmbeddingsBody),
    ("POST /tokenize", TokenizeBody),
    ("POST /detokenize", DetokenizeBody),
)
PARTS: tuple[type[BaseModel], ...] = (StreamOptions, ResponseFormat, JsonSchema, Tool, Function, NamedTool)
# OpenAI's fields that are not in our schema, so that a reader finds the word.
REFUSED = {
    "POST /v1/chat/completions": (
        "audio", "function_call", "functions", "moderation", "prediction", "prompt_cache_options",
        "prompt_cache_retention", "reasoning_effort", "verbosity", "web_search_options",
    ),
}  # fmt: skip
_EMBEDDINGS = {
    "model": "The encoder's id in `/v1/models`.",
    "input": "A text or a list of texts; token ids are refused, and so is a text that is too long: nothing is cut.",
    "encoding_format": "float or base64.",
    "dimensions": "Only the encoder's own.",
    "user": "Accepted: it names the provider's customer, and changes no vector anywhere.",
}
_HEAD = """\
# API compatibility

What `ownlm serve` does with every field of OpenAI's API. This table is made from the server's own schema
(`python -m ownlm.serve.openai.compatibility`), and a test holds it up to date.

A field that is not listed is refused with status 400 and the code `unknown_parameter`. With `--lenient` it is left
aside and named in the answer's `warnings`. Nothing is silently ignored. A field that is null counts as not given.

Answers carry two fields beyond OpenAI's: `warnings` where there are any, and `reasoning_content` (in a stream's
`delta` too) for what a reasoning model thought before its answer.

`usage.prompt_tokens_details` explains the prefix cache. Of `cached_tokens`, `from_memory` were in this process's cache
and `from_disk` were read from the store that outlives it (`--kv-store`). `first_difference` is the first token of the
prompt that the nearest entry of either does not have in its place: its `index`, its text (`token`), and the prompt's
text just before it (`after`); with several prompts also which of them (`prompt`). It is null where an entry has the
whole prompt. What must be equal for a prompt to be found stands before that token: put there what changes least.
All who hold the server's key share one cache, so `first_difference` (as the time to a first token does anywhere) lets
them tell whether a prompt that begins like theirs was asked before.

Further routes: `GET /v1/models`, `GET /v1/models/{id}`, `GET /health`, `GET /metrics` (Prometheus).
"""


def document() -> str:
    """The whole file."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for route, body in ROUTES:
        yield f"## {route}\n"
        yield "| field | what happens to it |"
        yield "| --- | --- |"
        yield from _rows(body)
        for name in REFUSED.get(route, ()):
            yield f"| `{name}` | Refused (with `--lenient`: left aside, with a warning). |"
        yield ""
    yield "## Objects in them\n"
    yield "| field | what happens to it |"
    yield "| --- | --- |"
    for part in PARTS:
        for row in _rows(part):
            yield row.replace("| `", f"| `{part.__name__}.", 1)
    yield ""


def _rows(body: type[BaseModel]) -> Iterator[str]:
    own = body.model_fields
    shared = SamplingBody.model_fields if issubclass(body, SamplingBody) else {}
    for name in (*(name for name in own if name not in shared), *shared):
        text = own[name].description or _EMBEDDINGS[name]
        shown = own[name].alias or name
        yield f"| `{shown}` | {text.replace('``', '`').replace('|', '/')} |"


if __name__ == "__main__":
    sys.stdout.write(document())

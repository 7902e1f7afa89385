"""The objects inside what OpenAI's clients send. Fields of theirs that are not here are kept apart, and refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ownlm.serve.openai.plain import plain


class Open(BaseModel):
    """A JSON object. Fields beyond those named are kept apart, for the route to refuse or to warn of."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    @property
    def unknown(self) -> list[str]:
        """Fields that are not of this object; null says that one is not given."""
        return sorted(name for name, value in (self.model_extra or {}).items() if value is not None)


class Request(Open):
    """A whole body."""

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        return plain(value)


class StreamOptions(Open):
    """How an answer is streamed."""

    include_usage: bool = Field(False, description="A last chunk with ``usage`` and no choices.")
    include_obfuscation: Literal[False] | None = Field(None, description="Only false: chunks are not padded.")


class Function(Open):
    """A function that the model may call."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$",
            description="Letters, digits, dots, hyphens and underscores; at most 64.",
        ),
    ]  # fmt: skip
    description: str | None = Field(None, description="Shown to the model by its chat template.")
    parameters: dict[str, Any] | None = Field(
        None, description="A JSON Schema, which every call's arguments meet. Default: no arguments."
    )
    strict: bool | None = Field(None, description="Arguments always follow the schema, whether or not it is set.")


class Tool(Open):
    """A tool; functions are the one kind."""

    type: Literal["function"] = Field(description="Only function.")
    function: Function = Field(description="What may be called.")


class NamedFunction(Open):
    """A function by its name."""

    name: str = Field(description="One of the tools'.")


class NamedTool(Open):
    """The one function to call."""

    type: Literal["function"] = Field(description="Only function.")
    function: NamedFunction = Field(description="Its name: this one is called, once.")


class JsonSchema(Open):
    """A schema that the answer must meet."""

    name: str | None = Field(None, description="Accepted: the schema alone says what an answer is.")
    description: str | None = Field(None, description="Accepted; say it to the model in a message.")
    schema_: dict[str, Any] | bool = Field(
        True,
        alias="schema",
        description="Held to the last token. A keyword that is not known or cannot be enforced is refused.",
    )
    strict: bool | None = Field(None, description="The schema is always met, whether or not it is set.")


class ResponseFormat(Open):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"] = Field(description="All three.")
    json_schema: JsonSchema | None = Field(None, description="With type json_schema.")

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema and type json_schema belong together")
        return self

"""What OpenAI's clients may send, and what each field does here; ``compatibility`` makes a table of it.

A field that is not here is refused; with ``--lenient`` it is left aside and named in the answer's ``warnings``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ownlm.serve.openai.schema_parts import NamedTool, Request, ResponseFormat, StreamOptions, Tool

MAX_CHOICES = 16
MAX_TOP = 20
MAX_STOPS = 16
MAX_PROMPTS = 256
NO_EFFECT = "Accepted: it names or groups requests for the provider, and changes no answer anywhere."


def _numbers(value: Any) -> Any:
    """JSON's 1 is a number for a field of type float; true is not."""
    return float(value) if type(value) is int else value


Float = Annotated[float, BeforeValidator(_numbers)]


class SamplingBody(Request):
    """What chat and plain completions have in common."""

    model: str = Field(description="The id that ``/v1/models`` lists; another gives 404.")
    stream: bool | None = Field(None, description="Chunks as server-sent events, then ``[DONE]``.")
    stream_options: StreamOptions | None = Field(None, description="``include_usage``. Needs ``stream``.")
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        None, description=f"So many answers, 1 to {MAX_CHOICES}; the prompt is computed once."
    )
    max_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Longest answer; also the older name in chat."
    )
    temperature: Annotated[Float, Field(ge=0, le=2)] | None = Field(
        None, description="0 takes the likeliest token. Default: what the model's own files ask for, else 1."
    )
    top_p: Annotated[Float, Field(gt=0, le=1)] | None = Field(
        None, description="Of the fewest tokens of this probability."
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(None, description="Extension: of so many tokens; 0 of all.")
    min_p: Annotated[Float, Field(ge=0, le=1)] | None = Field(
        None, description="Extension: of those at least this fraction as likely as the likeliest."
    )
    repetition_penalty: Annotated[Float, Field(gt=0)] | None = Field(None, description="Extension: 1 is none.")
    presence_penalty: Annotated[Float, Field(ge=-2, le=2)] | None = Field(None, description="As OpenAI's.")
    frequency_penalty: Annotated[Float, Field(ge=-2, le=2)] | None = Field(None, description="As OpenAI's.")
    logit_bias: dict[str, Float] | None = Field(None, description="By token id of this model, -100 to 100.")
    seed: int | None = Field(None, description="Equal seeds give equal answers, whatever else runs.")
    stop: str | list[str] | None = Field(
        None, description=f"One text or up to {MAX_STOPS}; found across tokens, and left out of the answer."
    )
    stop_token_ids: list[int] | None = Field(None, description="Extension: tokens that end the answer.")
    ignore_eos: bool | None = Field(None, description="Extension: the end-of-text token is a token like others.")
    min_tokens: Annotated[int, Field(ge=0)] | None = Field(None, description="Extension: it may end only after these.")
    grammar: str | None = Field(None, description="Extension: a Lark grammar that the answer must match.")
    regex: str | None = Field(None, description="Extension: a regular expression that the answer must match.")
    user: str | None = Field(None, description=NO_EFFECT)

    @model_validator(mode="after")
    def _is_consistent(self) -> SamplingBody:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream")
        if isinstance(self.stop, list) and len(self.stop) > MAX_STOPS:
            raise ValueError(f"stop has {len(self.stop)} texts; give at most {MAX_STOPS}")
        return self


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] = Field(
        description="system, developer, user, assistant and tool messages, of text; parts of other types are refused."
    )
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Longest answer. With ``max_tokens`` too, they must agree."
    )
    logprobs: bool | None = Field(None, description="The log probability of each token, the model's own.")
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP)] | None = Field(
        None, description="And of so many likeliest. Needs ``logprobs``."
    )
    response_format: ResponseFormat | None = Field(
        None,
        description="text, json_object, or json_schema: the answer always validates, if it is not cut by its length.",
    )
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = Field(
        None, description="Functions the model may call; calls are written and read by one grammar."
    )
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = Field(
        None, description="none, auto (default), required, or one function."
    )
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call.")
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="Extension: variables of the chat template, such as ``enable_thinking``."
    )
    metadata: dict[str, str] | None = Field(None, description=NO_EFFECT)
    safety_identifier: str | None = Field(None, description=NO_EFFECT)
    prompt_cache_key: str | None = Field(None, description=NO_EFFECT + " Prompts are cached by their tokens.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="auto or default: there is one.")
    store: Literal[False] | None = Field(None, description="Only false: nothing is stored.")
    modalities: list[Literal["text"]] | None = Field(None, description="Only text.")

    @model_validator(mode="after")
    def _agrees(self) -> ChatBody:
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            raise ValueError(
                f"max_tokens is {self.max_tokens} and max_completion_tokens {self.max_completion_tokens}: give one"
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise ValueError("tool_choice needs tools")
        return self


class CompletionBody(SamplingBody):
    """POST /v1/completions."""

    prompt: Annotated[Any, Field(description="A text, token ids of this model, or a list of either.")]
    suffix: str | None = Field(None, description="Fill in the middle, for models that have its tokens; else 400.")
    echo: bool | None = Field(
        None, description="The prompt in front of the answer; with ``logprobs``, the prompt's too."
    )
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP)] | None = Field(
        None, description="The log probability of each token, and of so many likeliest."
    )
    best_of: int | None = Field(None, description="Only as many as ``n``: no answer is thrown away.")

    @model_validator(mode="after")
    def _is_supported(self) -> CompletionBody:
        if self.best_of not in (None, self.n or 1):
            raise ValueError(f"best_of is {self.best_of} and n {self.n or 1}: answers are not ranked, give the same")
        if self.suffix is not None and self.echo:
            raise ValueError("echo and suffix cannot be together")
        return self


class TokenizeBody(Request):
    """POST /tokenize."""

    model: str | None = Field(None, description="The model's id, if given.")
    prompt: str | None = Field(None, description="The text. Give it or ``messages``.")
    messages: list[dict[str, Any]] | None = Field(None, description="A conversation, as the chat template renders it.")
    add_special_tokens: bool = Field(True, description="With the tokens that the model wants around a text.")


class DetokenizeBody(Request):
    """POST /detokenize."""

    model: str | None = Field(None, description="The model's id, if given.")
    tokens: list[int] = Field(description="Token ids.")

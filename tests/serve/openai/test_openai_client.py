"""The real ``openai`` client against a real server, as its users use it."""

from __future__ import annotations

import json

import jsonschema
import pytest
from openai_fixtures import Served

openai = pytest.importorskip("openai")

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 8},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


@pytest.fixture(scope="module")
def client(served: Served) -> object:
    return openai.OpenAI(base_url=served.base, api_key="none", max_retries=0, timeout=60)


def test_the_model_is_listed(client, served) -> None:
    assert next(model.id for model in client.models.list()) == "tiny"
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="'other' is not here"):
        client.models.retrieve("other")


def test_a_chat_has_what_the_contract_says(client) -> None:
    found = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=12, temperature=0, seed=1)
    choice = found.choices[0]
    assert found.object == "chat.completion" and found.id.startswith("chatcmpl-") and found.model == "tiny"
    assert choice.message.role == "assistant" and choice.message.refusal is None and choice.logprobs is None
    assert choice.finish_reason in ("stop", "length")
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    again = client.chat.completions.create(
        model="tiny", messages=HELLO, max_completion_tokens=12, temperature=0, seed=1
    )
    assert again.choices[0].message.content == choice.message.content
    assert again.usage.prompt_tokens_details.cached_tokens >= 0


def test_what_was_read_before_is_counted(client) -> None:
    said = [{"role": "user", "content": "A conversation that goes on for more than a block or two of the cache."}]
    first, again = (client.chat.completions.create(model="tiny", messages=said, max_tokens=2).usage for _ in range(2))
    longer = [*said, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And on."}]
    third = client.chat.completions.create(model="tiny", messages=longer, max_tokens=2, stream=True,
                                           stream_options={"include_usage": True})  # fmt: skip
    *_, last = third
    assert first.prompt_tokens == again.prompt_tokens < last.usage.prompt_tokens
    assert again.prompt_tokens_details.cached_tokens >= again.prompt_tokens - 32
    assert last.usage.prompt_tokens_details.cached_tokens >= again.prompt_tokens - 32


def test_a_stream_is_the_whole_in_pieces(client) -> None:
    settings = {"model": "tiny", "messages": HELLO, "max_tokens": 20, "temperature": 0}
    whole = client.chat.completions.create(**settings).choices[0]
    chunks = list(client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices and chunk.choices[0].delta.role] == [
        "assistant"
    ]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.message.content
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason == whole.finish_reason
    assert not chunks[-2].choices[0].delta.content
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_answers_and_seeds(client) -> None:
    def ask(seed: int) -> list[str]:
        found = client.chat.completions.create(
            model="tiny", messages=HELLO, n=3, max_tokens=8, seed=seed, temperature=1.5
        )
        assert [choice.index for choice in found.choices] == [0, 1, 2]
        return [choice.message.content for choice in found.choices]

    assert ask(5) == ask(5) != ask(6)
    assert len(set(ask(5))) > 1
    chunks = client.chat.completions.create(
        model="tiny", messages=HELLO, n=3, max_tokens=8, seed=5, temperature=1.5, stream=True
    )
    texts = ["", "", ""]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ask(5)


def test_logprobs(client) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    entries = found.choices[0].logprobs.content
    assert 1 <= len(entries) <= 5
    for entry in entries:
        assert entry.logprob <= 0 and len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == pytest.approx(entry.logprob)  # the likeliest was taken


def test_a_stop_string_is_left_out(client) -> None:
    whole = (
        client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=30, temperature=0)
        .choices[0]
        .message.content
    )
    stop = whole[4:7]
    found = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=30, temperature=0, stop=[stop])
    assert found.choices[0].finish_reason == "stop" and found.choices[0].message.content == whole[: whole.index(stop)]


@pytest.mark.parametrize("seed", range(4))
def test_json_schema_always_validates(client, seed: int) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
            "size": {"type": "number", "minimum": 0, "maximum": 9},
        },
        "required": ["name", "tags", "size"],
        "additionalProperties": False,
    }
    found = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=400, seed=seed, temperature=1.0,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}},
    )  # fmt: skip
    if found.choices[0].finish_reason == "stop":
        jsonschema.validate(json.loads(found.choices[0].message.content), schema)


def test_a_schema_that_nothing_meets_is_refused(client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "minLenght": 3}}}
    with pytest.raises(openai.BadRequestError, match="minLenght"):
        client.chat.completions.create(model="tiny", messages=HELLO, response_format=form)


@pytest.mark.parametrize("seed", range(3))
def test_a_required_call(client, seed: int) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=300, seed=seed,
        parallel_tool_calls=False,
    )  # fmt: skip
    choice = found.choices[0]
    (call,) = choice.message.tool_calls
    assert choice.message.content is None and call.function.name == "weather" and call.id.startswith("call_")
    if choice.finish_reason == "tool_calls":
        jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])


def test_the_named_function_is_called(client) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=HELLO, tools=[WEATHER, CLOCK], max_tokens=100,
        tool_choice={"type": "function", "function": {"name": "clock"}},
    )  # fmt: skip
    (call,) = found.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("clock", {})
    assert found.choices[0].finish_reason == "tool_calls"


def test_calls_stream(client) -> None:
    settings = {
        "model": "tiny",
        "messages": HELLO,
        "tools": [WEATHER, CLOCK],
        "tool_choice": "required",
        "max_tokens": 300,
        "seed": 11,
    }
    whole = client.chat.completions.create(**settings).choices[0]
    names, arguments, reasons = {}, {}, []
    for chunk in client.chat.completions.create(**settings, stream=True):
        choice = chunk.choices[0]
        reasons += [choice.finish_reason] if choice.finish_reason else []
        for call in choice.delta.tool_calls or []:
            if call.id:
                assert call.index not in names and call.type == "function"
                names[call.index] = call.function.name
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert [names[i] for i in sorted(names)] == [call.function.name for call in whole.message.tool_calls]
    assert [arguments[i] for i in sorted(names)] == [call.function.arguments for call in whole.message.tool_calls]
    assert reasons == [whole.finish_reason]


def test_none_and_auto(client) -> None:
    settings = {"model": "tiny", "messages": HELLO, "tools": [WEATHER], "max_tokens": 40, "seed": 1}
    assert client.chat.completions.create(**settings, tool_choice="none").choices[0].message.tool_calls is None
    auto = client.chat.completions.create(**settings).choices[0]
    assert auto.message.content or auto.message.tool_calls


def test_what_a_client_sends_back_is_read(client) -> None:
    found = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                }]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ],
        max_tokens=4,
    )  # fmt: skip
    assert found.usage.completion_tokens >= 1


def test_images_are_refused(client) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
    with pytest.raises(openai.BadRequestError, match="only parts of type text"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": [part]}])


def test_too_long_a_prompt_has_both_numbers(client) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a" * 5000}])
    assert caught.value.code == "context_length_exceeded" and "1024" in str(caught.value) and "50" in str(caught.value)


def test_completions_echo_and_score(client, served) -> None:
    ids = served.llm.encode("The gate")
    found = client.completions.create(model="tiny", prompt=ids, max_tokens=1, temperature=0, echo=True, logprobs=1)
    choice = found.choices[0]
    assert choice.text.startswith("The gate")
    scores = choice.logprobs
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == len(ids) + 1
    assert scores.token_logprobs[0] is None and scores.top_logprobs[0] is None
    assert all(value <= 0 for value in scores.token_logprobs[1:])
    assert scores.text_offset[0] == 0 and scores.text_offset == sorted(scores.text_offset)


@pytest.mark.parametrize("stream", [True, False])
def test_the_token_that_ends_a_text_is_scored_too(client, served, stream: bool) -> None:
    """lm-eval asks for one token behind what it scores, and drops it: an end must be one too."""
    ids = served.llm.encode("The gate")
    end = min(served.llm.tokenizer.eos_ids)
    found = client.completions.create(
        model="tiny", prompt=ids, max_tokens=1, echo=True, logprobs=1, logit_bias={str(end): 100}, stream=stream
    )
    choices = [chunk.choices[0] for chunk in found] if stream else found.choices
    assert choices[-1].finish_reason == "stop" and "".join(choice.text for choice in choices) == "The gate"
    assert sum(len(choice.logprobs.token_logprobs) for choice in choices) == len(ids) + 1
    assert choices[-1].logprobs.tokens[-1] == "<eos>"


def test_a_prompt_alone_is_scored(client, served) -> None:
    found = client.completions.create(model="tiny", prompt="The gate", max_tokens=0, echo=True, logprobs=0).choices[0]
    assert found.text == "The gate" and found.finish_reason == "length"
    assert len(found.logprobs.token_logprobs) == len(served.llm.encode("The gate"))
    whole = client.completions.create(model="tiny", prompt=["The gate", "A door"], n=2, max_tokens=2, echo=True)
    assert [choice.text[: len("A door")] for choice in whole.choices] == ["The ga", "The ga", "A door", "A door"]


def test_completions_of_several_prompts(client) -> None:
    found = client.completions.create(model="tiny", prompt=["One", "Two"], n=2, max_tokens=3, seed=1)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    chunks = list(client.completions.create(model="tiny", prompt="One", max_tokens=4, temperature=0, stream=True))
    whole = client.completions.create(model="tiny", prompt="One", max_tokens=4, temperature=0)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_the_middle_is_filled_in(client, served) -> None:
    found = client.completions.create(model="tiny", prompt="def f(", suffix="return x", max_tokens=3)
    assert found.usage.prompt_tokens == len(served.llm.encode("def f(")) + len(served.llm.encode("return x")) + 3


@pytest.mark.parametrize(
    "settings",
    [{"best_of": 3}, {"echo": True, "suffix": "x"}, {"prompt": [[]]}, {"prompt": [999999]}, {"logprobs": 99}],
)
def test_completions_that_cannot_be(client, settings: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(**{"model": "tiny", "prompt": "One", **settings})


def test_embeddings_beside_the_model(client) -> None:
    found = client.embeddings.create(model="all-MiniLM-L6-v2-q8_0", input=["a gate", "a door"])
    assert len(found.data) == 2 and len(found.data[0].embedding) == 384

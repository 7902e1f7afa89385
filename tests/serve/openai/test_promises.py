"""What is promised whatever the model says: JSON that validates, arguments that do, and a word when a step fails."""

from __future__ import annotations

import concurrent.futures
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import openai
import pytest
from answer_fixtures import HELLO
from numpy.typing import NDArray
from openai_fixtures import Served, serving_llm

from llm_fakes import CHATML, NoiseRunner, noise_llm, tokenizer
from ownlm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.model.batch import Batch
from ownlm.tokenizer import ChatTemplate
from random_schemas import random_schema

SCHEMAS = 60


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Noise that likes to come to an end, or few answers would."""
    likes = dict.fromkeys(['"', "}", "]", "<|im_end|>"], 6.0)
    with noise_llm(tmp_path_factory.mktemp("noise"), favour=likes) as llm, serving_llm(llm) as served:
        yield served


def ask(served: Served, number: int, **settings: Any) -> dict[str, Any]:
    body = {"model": "noise", "messages": HELLO, "seed": number, "max_tokens": 400} | settings
    response = httpx.post(f"{served.base}/chat/completions", json=body, timeout=120)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["choices"][0]
    return found


def test_answers_always_meet_their_schema(noise: Served) -> None:
    schemas = [random_schema(random.Random(number)) for number in range(SCHEMAS)]

    def one(number: int) -> bool:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schemas[number]}}
        choice = ask(noise, number, response_format=form)
        if choice["finish_reason"] == "stop":
            jsonschema.validate(json.loads(choice["message"]["content"]), schemas[number])
        return choice["finish_reason"] == "stop"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(SCHEMAS))) > 0.7 * SCHEMAS


def test_arguments_always_meet_their_schema(noise: Served) -> None:
    chance = random.Random(7)
    shapes = [
        {"properties": {"a": random_schema(chance, 2), "b": random_schema(chance, 1)}, "required": ["b"]}
        for _ in range(SCHEMAS)
    ]

    def one(number: int) -> bool:
        tools = [
            {"type": "function", "function": {"name": f"f{index}", "parameters": shapes[index]}}
            for index in (number, (number + 1) % SCHEMAS)
        ]
        choice = ask(noise, number, tools=tools, tool_choice="required")
        if choice["finish_reason"] == "tool_calls":
            (call,) = choice["message"]["tool_calls"]
            jsonschema.validate(json.loads(call["function"]["arguments"]), shapes[int(call["function"]["name"][1:])])
        return choice["finish_reason"] == "tool_calls"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(SCHEMAS))) > 0.7 * SCHEMAS


class Failing(NoiseRunner):
    """Computes a few steps, and then fails each time."""

    steps = 0

    def step(self, batch: Batch) -> NDArray[np.float32]:
        self.steps += 1
        if self.steps > 4:
            raise RuntimeError("out of order")
        return super().step(batch)


def test_a_step_that_fails_in_mid_stream_is_told(tmp_path: Path) -> None:
    tokens = tokenizer(tmp_path)
    loaded = Loaded(
        name="noise",
        runner=Failing(tokens.vocab_size),
        tokenizer=tokens,
        chat_template=ChatTemplate(CHATML, tokens),
    )
    body = {"model": "noise", "messages": HELLO, "ignore_eos": True, "max_tokens": 50}
    with LLM.of(loaded) as llm, serving_llm(llm) as served:
        response = httpx.post(f"{served.base}/chat/completions", json=body | {"stream": True}, timeout=60)
        *events, last = response.text.removesuffix("\n\n").split("\n\n")
        error = json.loads(last.removeprefix("data: "))["error"]
        assert response.status_code == 200 and len(events) > 1 and "[DONE]" not in response.text
        assert set(error) == {"message", "type", "param", "code"} and error["type"] == "server_error"
        client = openai.OpenAI(base_url=served.base, api_key="none", max_retries=0, timeout=60)
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model="noise", messages=HELLO, stream=True))
        whole = httpx.post(f"{served.base}/chat/completions", json=body, timeout=60)
        assert whole.status_code == 500 and set(whole.json()["error"]) == {"message", "type", "param", "code"}

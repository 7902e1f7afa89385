"""``ownlm up --model``: the model's routes beside the page and the documents, under the same guard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ownlm.serve.settings import Settings

from .conftest import FakeLibrary, serving

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "tokenizer")]
KEY = {"authorization": "Bearer correct-horse-battery"}
CHAT = {"model": "noise", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
MODEL_ROUTES = ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"]


@pytest.fixture
def client(library: FakeLibrary, tmp_path: Path) -> Iterator[httpx.Client]:
    from llm_fakes import noise_llm

    folder = tmp_path / "noise"
    folder.mkdir()
    settings = Settings(port=0, drain_seconds=5, api_key="correct-horse-battery")
    with (
        noise_llm(folder) as llm,
        serving(library, settings, llm) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def test_both_are_there(client: httpx.Client) -> None:
    models = client.get("/v1/models", headers=KEY).json()["data"]
    assert [model["id"] for model in models] == ["noise", "all-MiniLM-L6-v2-q8_0"]
    assert client.post("/v1/chat/completions", json=CHAT, headers=KEY).json()["object"] == "chat.completion"
    embed = {"model": models[1]["id"], "input": "key"}
    assert client.post("/v1/embeddings", json=embed, headers=KEY).status_code == 200
    asked = client.post("/api/ask", json={"question": "lost key"}, headers=KEY | {"accept": "application/json"})
    assert "40 pounds" in asked.text
    assert "ownlm_generated_tokens_total 3" in client.get("/metrics", headers=KEY).text
    assert client.get("/").status_code == 200


def test_the_model_s_routes_are_guarded_like_the_others(client: httpx.Client) -> None:
    for path in MODEL_ROUTES:
        assert client.post(path, json=CHAT).status_code == 401
        assert client.post(path, json=CHAT, headers=KEY | {"host": "evil.example"}).status_code == 421
        assert client.post(path, json=CHAT, headers=KEY | {"origin": "https://evil.example"}).status_code == 403
        assert client.post(path, content="a=1", headers=KEY | {"content-type": "text/plain"}).status_code == 415
    assert client.get("/metrics").status_code == 401


def test_without_a_model_its_routes_are_not_there(library: FakeLibrary) -> None:
    with serving(library) as url:
        for path in MODEL_ROUTES:
            found = httpx.post(f"{url}{path}", json=CHAT, timeout=60)
            assert found.status_code == 404 and set(found.json()["error"]) == {"message", "type", "param", "code"}

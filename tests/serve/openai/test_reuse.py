"""A response says what of its prompt was known, from where, and where it parts from that; after a restart too."""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_harness import eventually
from kv_support import every_byte
from ownlm.engine.kv_folder import FOLDER
from ownlm.engine.kv_segment import Segment
from ownlm.engine.llm import LLM
from ownlm.rag.library import Library
from ownlm.serve import run
from ownlm.serve.run import address, bind
from ownlm.serve.settings import Settings
from ownlm.tokenizer import Tokenizer
from tiny_llm import write_tiny_llm

DOCUMENT = " ".join(f"Rule {number} is that nobody may park in the yard after {number} o'clock." for number in range(9))
WHOLE = {"accept": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llm(tmp_path_factory.mktemp("tiny"), max_position_embeddings=4096)


@contextmanager
def server(folder: Path, home: Path, library: Library | None = None) -> Iterator[httpx.Client]:
    settings = Settings(port=0, drain_seconds=5)
    listener = bind(settings)
    listener.listen(64)
    with LLM(folder, context=4096, store=home / FOLDER) as llm:
        running = run.server(library, settings, llm)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx.Client(base_url=address(listener, settings), headers=WHOLE, timeout=60) as client:
                yield client
        finally:
            running.should_exit = True
            thread.join(10)
            listener.close()


def chat(client: httpx.Client, *said: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "\n".join(said)}]
    body = {"model": name(client), "messages": messages, "max_tokens": 3, "temperature": 0}
    found = client.post("/v1/chat/completions", json=body)
    assert found.status_code == 200, found.text
    return found.json()


def name(client: httpx.Client) -> str:
    return client.get("/v1/models").json()["data"][0]["id"]


def details(answer: dict[str, Any]) -> dict[str, Any]:
    found = answer["usage"]["prompt_tokens_details"]
    assert found["cached_tokens"] == found["from_memory"] + found["from_disk"]
    return found


def test_usage_says_from_where_and_what_differed(folder: Path, tmp_path: Path) -> None:
    with server(folder, tmp_path) as client:
        first = chat(client, DOCUMENT, "Who may park?")
        assert details(first) | {"first_difference": None} == {
            "cached_tokens": 0, "from_memory": 0, "from_disk": 0, "first_difference": None,
        }  # fmt: skip
        assert details(first)["first_difference"]["index"] == 0
        again = chat(client, DOCUMENT, "Who may park?")
        assert details(again)["from_memory"] >= first["usage"]["prompt_tokens"] - 16
        assert details(again)["first_difference"] is None
        metrics = client.get("/metrics").text
        assert "ownlm_restored_tokens_total 0" in metrics
    with server(folder, tmp_path) as client:
        restarted = chat(client, DOCUMENT, "Who may park?")
        assert restarted["choices"] == first["choices"]
        assert details(restarted)["from_disk"] == details(again)["cached_tokens"]
        other = chat(client, DOCUMENT, "Who pays?")
        found = details(other)["first_difference"]
        assert found["after"].endswith("Who ") or found["after"].endswith("Who")
        assert found["token"].strip().startswith("p") and set(found) == {"index", "token", "after"}
        assert details(other)["cached_tokens"] <= found["index"] < other["usage"]["prompt_tokens"]
        assert f"ownlm_restored_tokens_total {details(restarted)['from_disk']}" in client.get("/metrics").text
        body = {"model": name(client), "prompt": [DOCUMENT, DOCUMENT + "x"], "max_tokens": 1}
        several = client.post("/v1/completions", json=body).json()
        assert details(several)["first_difference"]["prompt"] == 0
        with client.stream("POST", "/v1/chat/completions", json={
            "model": name(client), "messages": [{"role": "user", "content": DOCUMENT}], "max_tokens": 2, "stream": True,
            "stream_options": {"include_usage": True},
        }) as stream:  # fmt: skip
            events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
        assert details(events[-1])["from_memory"] > 0


def test_a_document_that_is_deleted_over_http_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    secret = array("i", Tokenizer.load(folder).encode(" park in the")).tobytes()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "yard.md").write_text(f"# Yard\n\n{DOCUMENT}\n")
    with Library.open(tmp_path / "home") as library:
        library.sync([tmp_path / "docs"])
        with server(folder, tmp_path / "home", library) as client:
            ask = {"question": "Who may park in the yard?", "mode": "generate"}
            first = client.post("/api/ask", json=ask).json()
            again = client.post("/api/ask", json=ask).json()
            assert first["usage"]["cached_tokens"] == 0 < again["usage"]["from_memory"]
            assert eventually(lambda: secret in every_byte(tmp_path / "home" / FOLDER))
            (document,) = client.get("/api/documents").json()["documents"]
            removed = client.request("DELETE", f"/api/documents/{document['id']}", json={})
            assert removed.status_code == 200, removed.text
            assert secret not in every_byte(tmp_path / "home" / FOLDER)
            assert not any(Segment(path).tags for path in (tmp_path / "home").rglob("*.kv"))
            assert b"nobody may park" not in every_byte(tmp_path / "home")

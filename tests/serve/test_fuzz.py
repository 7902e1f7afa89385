"""Whatever is sent, the server answers, in its one shape of errors, and never with a failure of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import FakeLibrary, serving, small_library

PATHS = ["/api/ask", "/api/documents", "/v1/embeddings"]
FIELDS = ["question", "documents", "name", "content_base64", "if_exists", "model", "input", "encoding_format",
          "dimensions", "user", "surprise"]  # fmt: skip

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    library: FakeLibrary = small_library(tmp_path_factory.mktemp("home"))
    with serving(library) as url, httpx.Client(base_url=url, timeout=30, verify=False) as client:
        yield client
    library.store.close()


def check(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), body=objects | values)
def test_any_json(client: httpx.Client, path: str, body: Any) -> None:
    headers = {"content-type": "application/json", "accept": "application/json"}
    check(client.post(path, content=json.dumps(body), headers=headers))


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(PATHS), body=st.binary(min_size=1, max_size=200))
def test_any_bytes(client: httpx.Client, path: str, body: bytes) -> None:
    check(client.post(path, content=body, headers={"content-type": "application/json"}))


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(["/api/documents", "/api/documents/1", "/api/ledger", "/api/ledger/x", "/v1/models/x"]),
    query=st.dictionaries(
        st.sampled_from(["limit", "offset", "match", "start", "end"]), st.integers() | st.text(max_size=9), max_size=3
    ),
)
def test_any_query(client: httpx.Client, path: str, query: dict[str, Any]) -> None:
    check(client.get(path, params=query))


def test_the_description_lists_every_route(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {*PATHS, "/v1/models", "/health", "/api/ledger", "/api/ledger/{entry}", "/api/documents/{key}"} <= set(paths)

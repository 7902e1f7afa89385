"""/v1 through the real ``openai`` client, and through plain HTTP where that client hides the shape."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import openai
import pytest

from .conftest import serving, small_library

MODEL = "all-MiniLM-L6-v2-q8_0"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """No test here changes it."""
    fake = small_library(tmp_path_factory.mktemp("home"))
    yield fake
    fake.store.close()


@pytest.fixture(scope="module")
def url(library):
    with serving(library) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    with httpx.Client(base_url=url, verify=False) as client:
        yield client


@pytest.fixture(scope="module")
def api(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as api:
        yield api


def test_models(api):
    assert [model.id for model in api.models.list()] == [MODEL]
    assert api.models.retrieve(MODEL).owned_by == "ownlm"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("gpt-5")


def test_base64_is_the_client_s_default_and_float_says_the_same(api, library):
    texts = ["a lost key", "clé perdue", "🗝"]
    packed = api.embeddings.create(model=MODEL, input=texts)
    plain = api.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    expected = library.embedder.encode(texts)
    for response in (packed, plain):
        assert [each.index for each in response.data] == [0, 1, 2]
        np.testing.assert_allclose([each.embedding for each in response.data], expected, rtol=1e-6)
        assert response.model == MODEL
        assert response.usage.prompt_tokens == response.usage.total_tokens == 3 + 2 + 1 + 3 * 2


def test_a_string_gives_one_vector(api):
    assert len(api.embeddings.create(model=MODEL, input="key", dimensions=8, user="u1").data) == 1


def test_base64_is_little_endian_float32(client, library):
    body = {"model": MODEL, "input": "key", "encoding_format": "base64"}
    data = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(data), "<f4"), library.embedder.encode(["key"])[0])


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"input": [1, 2, 3]}, 400, "invalid_value", "input"),
        ({"input": [[1, 2], [3]]}, 400, "invalid_value", "input"),
        ({"input": ["text", 1]}, 400, "invalid_value", "input"),
        ({"input": []}, 400, "invalid_value", "input"),
        ({"input": ["x"] * 2049}, 400, "invalid_value", "input"),
        ({"input": ""}, 400, "invalid_value", "input"),
        ({"input": ["x", " "]}, 400, "invalid_value", "input[1]"),
        ({"input": None}, 400, "invalid_value", "input"),
        ({"input": {"text": "x"}}, 400, "invalid_value", "input"),
        ({"input": "word " * 255}, 400, "context_length_exceeded", "input"),
        ({"input": ["x", "word " * 300]}, 400, "context_length_exceeded", "input[1]"),
        ({"dimensions": 4}, 400, "invalid_value", "dimensions"),
        ({"dimensions": "8"}, 400, "invalid_type", "dimensions"),
        ({"encoding_format": "int8"}, 400, "invalid_value", "encoding_format"),
        ({"model": "text-embedding-3-small"}, 404, "model_not_found", "model"),
        ({"truncate": True}, 400, "unknown_parameter", "truncate"),
        ({"user": 5}, 400, "invalid_type", "user"),
    ],
)
def test_what_cannot_be_honoured_is_refused(client, change, status, code, param):
    response = client.post("/v1/embeddings", json={"model": MODEL, "input": "x", **change})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
    assert error["message"] and error["type"] == "invalid_request_error"


def test_token_ids_are_explained(client):
    response = client.post("/v1/embeddings", json={"model": MODEL, "input": [101, 2003]})
    assert "vocabulary" in response.json()["error"]["message"]


def test_too_long_names_both_numbers(client):
    message = client.post("/v1/embeddings", json={"model": MODEL, "input": "word " * 300}).json()["error"]["message"]
    assert "302" in message and "256" in message


def test_the_longest_text_that_fits_is_taken(client):
    assert client.post("/v1/embeddings", json={"model": MODEL, "input": "word " * 254}).status_code == 200


def test_the_client_understands_refusals(api):
    with pytest.raises(openai.BadRequestError) as refusal:
        api.embeddings.create(model=MODEL, input=[1, 2])
    assert refusal.value.param == "input" and refusal.value.code == "invalid_value"
    assert refusal.value.request_id and refusal.value.request_id.startswith("req_")

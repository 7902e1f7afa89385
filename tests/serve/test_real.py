"""The server over a real library: files, encoder, index, answers and ledger as people have them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm import hub
from ownlm.rag.library import Library

from .conftest import events, serving

JSON = {"accept": "application/json"}
NAMES = (
    *("Ada", "Bela", "Cleo", "Dora", "Egon", "Fritz", "Greta", "Hugo", "Iris", "Jonas"),
    *("Klara", "Lars", "Mona", "Nils", "Olga", "Paul", "Rosa", "Sven", "Tilda", "Vera"),
)
KEYS = """# Keys

A lost key costs 40 pounds. Report it to the porter on the same day.

## Lockers 🗝

The emoji door 🗝 opens at dawn.
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("docs")
    (root / "keys.md").write_text(KEYS)
    (root / "fire.txt").write_text("In case of fire, leave by the stairs and gather at the old oak tree.\n")
    (root / "lockers.md").write_text(
        "# Lockers\n\n" + "".join(f"The locker of {name} is number {100 + at}.\n\n" for at, name in enumerate(NAMES))
    )
    with Library.open(tmp_path_factory.mktemp("home")) as library:
        assert library.sync([root]).added == 3
        yield library


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=None)
    with serving(library) as url, httpx.Client(base_url=url, timeout=120, verify=False, limits=limits) as client:
        yield client


def text_of(client: httpx.Client, document: str) -> str:
    return str(client.get(f"/api/documents/{quote(document, safe='')}").json()["text"])


@pytest.mark.parametrize("question", ["What does a lost key cost?", "When does the emoji door open?"])
def test_every_quotation_is_the_text_at_its_span(client: httpx.Client, question: str) -> None:
    found = events(client.post("/api/ask", json={"question": question}).text)
    assert [name for name, _ in found if name != "claim"] == ["stage", "stage", "passages", "done"]
    answer = json.loads(found[-1][1])
    assert not answer["abstained"] and answer["claims"]
    for claim in answer["claims"]:
        assert answer["answer"][claim["start"] : claim["end"]] == claim["text"]
        for cited in claim["citations"]:
            assert text_of(client, cited["document"])[cited["start"] : cited["end"]] == cited["quote"]
    entry = client.get(f"/api/ledger/{answer['ledger_id']}").json()
    assert entry["question"] == question and entry["answer"]["claims"] == answer["claims"]


def test_what_the_documents_do_not_say_is_not_said(client: httpx.Client) -> None:
    answer = client.post("/api/ask", json={"question": "Who was pope in 1530?"}, headers=JSON).json()
    assert answer["abstained"] and answer["claims"] == []


def test_a_question_of_some_documents_reads_no_others(client: httpx.Client) -> None:
    body = {"question": "What does a lost key cost?", "documents": ["fire.txt"]}
    answer = client.post("/api/ask", json=body, headers=JSON).json()
    assert {passage["title"] for passage in answer["passages"]} <= {"fire"}


def test_two_hundred_questions_at_once_are_all_answered_right(client: httpx.Client) -> None:
    def ask(at: int) -> str:
        body = {"question": f"What is the number of the locker of {NAMES[at]}?"}
        response = client.post("/api/ask", json=body, headers=JSON)
        return f"{response.status_code} {response.json().get('answer')}"

    turns = [at % len(NAMES) for at in range(200)]
    with ThreadPoolExecutor(200) as crowd:
        answers = list(crowd.map(ask, turns))
    expected = [f"The locker of {NAMES[at]} is number {100 + at}." for at in turns]
    pairs = zip(expected, answers, strict=True)
    wrong = [(right, said) for right, said in pairs if not said.startswith("200 ") or right not in said]
    assert wrong == []
    assert client.get("/api/ledger").json()["total"] >= 200


def test_a_dropped_file_answers_until_it_is_removed(client: httpx.Client, library: Library) -> None:
    data = base64.b64encode(b"# Walruses\n\nThe walrus pond is cleaned every second Thursday.\n").decode()
    response = client.post("/api/documents", json={"name": "../../pond.md", "content_base64": data})
    found = events(response.text)
    assert {name for name, _ in found[:-1]} == {"progress"} and found[-1][0] == "done", found
    document = json.loads(found[-1][1])["document"]
    assert document["uploaded"] and Path(document["name"]) == library.home / "uploads" / "pond.md"
    question = {"question": "When is the walrus pond cleaned?"}
    assert "second Thursday" in client.post("/api/ask", json=question, headers=JSON).json()["answer"]
    assert client.request("DELETE", f"/api/documents/{document['id']}", json={}).status_code == 200
    assert not (library.home / "uploads" / "pond.md").exists()
    assert client.post("/api/ask", json=question, headers=JSON).json()["abstained"]
    assert client.get(f"/api/documents/{document['id']}").status_code == 404


@pytest.mark.parametrize(
    ("name", "data"), [("scan.pdf", b"%PDF-1.4 broken"), ("x.docx", b"PK\3\4 no zip"), ("e.txt", b"")]
)
def test_a_file_that_cannot_be_read_says_why_and_is_not_kept(
    client: httpx.Client, library: Library, name: str, data: bytes
) -> None:
    body = {"name": name, "content_base64": base64.b64encode(data).decode()}
    response = client.post("/api/documents", json=body, headers=JSON)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "unreadable_document") and error["message"]
    assert not (library.home / "uploads" / name).exists()


@settings(max_examples=40, deadline=None)
@given(question=st.text(max_size=60), documents=st.none() | st.lists(st.integers(0, 2**53) | st.text(), max_size=2))
def test_any_question_gets_an_answer_or_a_reason(client: httpx.Client, question: str, documents: list[object]) -> None:
    response = client.post("/api/ask", json={"question": question, "documents": documents}, headers=JSON)
    assert response.status_code in {200, 400, 404}, response.text


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_embedded_or_refused(client: httpx.Client, library: Library, text: str) -> None:
    body = {"model": hub.DEFAULT, "input": text}
    assert client.post("/v1/embeddings", json=body).status_code in {200, 400}


def test_embeddings_are_the_encoder_s(client: httpx.Client, library: Library) -> None:
    texts = ["a lost key", "une clé perdue"]
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="any") as api:
        model = api.models.list().data[0].id
        response = api.embeddings.create(model=model, input=texts)
        with pytest.raises(openai.BadRequestError, match=r"has \d+ tokens; .* at most 256"):
            api.embeddings.create(model=model, input="word " * 300)
        fits = api.embeddings.create(model=model, input="word " * 254)
    np.testing.assert_allclose([each.embedding for each in response.data], library.embedder.encode(texts), atol=1e-5)
    assert response.usage.prompt_tokens == sum(library.embedder.count_tokens(text) + 2 for text in texts)
    assert fits.usage.prompt_tokens == 256

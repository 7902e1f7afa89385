"""POST /api/ask: the order and the form of its events, plain JSON, errors, and crowds."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest

from ownlm.errors import StoreBusy
from ownlm.serve.settings import Settings

from .conftest import FakeLibrary, events, serving


def many(url: str) -> httpx.Client:
    """A client that opens as many connections as it is asked to."""
    return httpx.Client(base_url=url, timeout=60, verify=False, limits=httpx.Limits(max_connections=None))


EVENTS = {"accept": "text/event-stream"}
JSON = {"accept": "application/json"}


def test_events_come_in_order_and_end_with_the_whole_answer(client):
    response = client.post("/api/ask", json={"question": "What costs a lost key?"}, headers=EVENTS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = events(response.text)
    assert [name for name, _ in found] == ["stage", "stage", "passages", "claim", "done"]
    assert [json.loads(data)["stage"] for name, data in found if name == "stage"] == ["retrieving", "reading"]
    claim, answer = json.loads(found[3][1]), json.loads(found[4][1])
    assert answer["claims"] == [claim]
    assert claim["citations"][0]["quote"] == "A lost key costs 40 pounds."


def test_one_json_document_when_asked_for(client):
    response = client.post("/api/ask", json={"question": "What costs a lost key?"}, headers=JSON)
    assert response.headers["content-type"] == "application/json"
    assert response.json()["answer"] == "A lost key costs 40 pounds."
    assert len(response.json()["ledger_id"]) == 12


def test_scope_limits_the_documents(client):
    for documents in ([2], ["/docs/𝒰nicode 🗝.md"]):
        response = client.post("/api/ask", json={"question": "lost key", "documents": documents}, headers=JSON)
        assert response.json()["abstained"]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "missing_required_parameter", "question"),
        ({"question": "  "}, 400, "invalid_value", "question"),
        ({"question": 5}, 400, "invalid_type", "question"),
        ({"question": "x" * 4001}, 400, "invalid_value", "question"),
        ({"question": "x", "colour": "red"}, 400, "unknown_parameter", "colour"),
        ({"question": "x", "documents": []}, 400, "invalid_value", "documents"),
        ({"question": "x", "documents": [99]}, 404, "not_found", None),
        ({"question": "x", "documents": [2**70]}, 400, "invalid_value", "documents.0"),
        ({"question": "x", "documents": [True]}, 400, "invalid_value", "documents.0"),
        ([1], 400, "invalid_type", None),
    ],
)
def test_bad_requests_name_the_field(client, body, status, code, param):
    response = client.post("/api/ask", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
    assert error["message"] and error["type"] == "invalid_request_error"


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 100_000, b'{"question": "\\ud800"}', b'{"question": NaN}'])
def test_what_is_not_json_or_not_text_is_refused(client, raw):
    response = client.post("/api/ask", content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_an_error_before_the_first_event_is_an_http_error(library, client, monkeypatch):
    def busy(*args, **kwargs):
        raise StoreBusy("another process is indexing: try again")

    monkeypatch.setattr(library, "ask", busy)
    response = client.post("/api/ask", json={"question": "x"}, headers=EVENTS)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "index_busy")
    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize("error", [StoreBusy("another process is indexing"), RuntimeError("secret detail")])
def test_an_error_after_that_is_an_event(library, client, monkeypatch, error):
    def fails(question, *, documents, on_event):
        on_event("retrieving", None)
        raise error

    monkeypatch.setattr(library, "ask", fails)
    response = client.post("/api/ask", json={"question": "x"}, headers=EVENTS)
    assert response.status_code == 200
    name, data = events(response.text)[-1]
    assert name == "error" and "secret" not in data
    assert set(json.loads(data)) == {"message", "type", "param", "code"}


def test_an_unforeseen_failure_tells_no_secrets(library, client, monkeypatch):
    monkeypatch.setattr(library, "documents", lambda: 1 / 0)
    response = client.get("/api/documents")
    assert response.status_code == 500
    assert response.headers["x-request-id"] in response.json()["error"]["message"]
    assert "division" not in response.text and response.headers["x-content-type-options"] == "nosniff"


def test_a_long_wait_is_filled_with_comments(library):
    library.delay = 0.8
    with serving(library, Settings(port=0, keep_alive_seconds=0.1)) as url:
        response = httpx.post(f"{url}/api/ask", json={"question": "lost key"}, headers=EVENTS)
    assert response.text.count(": waiting\n\n") >= 2
    assert events(response.text)[-1][0] == "done"


def test_two_hundred_questions_at_once_are_all_answered_right(library):
    library.delay = 0.01
    for number in range(200):
        library.add(f"/docs/{number}.md", f"Locker{number} belongs to person{number}.\n")

    def ask(number: int) -> bool:
        response = client.post("/api/ask", json={"question": f"locker{number}"}, headers=JSON)
        return response.status_code == 200 and response.json()["answer"] == f"Locker{number} belongs to person{number}."

    with serving(library) as url, ThreadPoolExecutor(200) as crowd, many(url) as client:
        assert all(crowd.map(ask, range(200)))


def test_a_full_line_is_told_to_come_back(library, monkeypatch):
    """One is answered and held, one waits, and the third is refused at once."""
    begun, held = threading.Event(), threading.Event()
    answer = library.ask

    def hold(*args, **kwargs):
        begun.set()
        assert held.wait(30)
        return answer(*args, **kwargs)

    monkeypatch.setattr(library, "ask", hold)
    settings = Settings(port=0, workers=1, max_waiting=1)
    with serving(library, settings) as url, ThreadPoolExecutor(3) as crowd, many(url) as client:

        def ask(_: int) -> httpx.Response:
            return client.post("/api/ask", json={"question": "key"}, headers=JSON)

        first = crowd.submit(ask, 0)
        assert begun.wait(10)
        others = [crowd.submit(ask, 1), crowd.submit(ask, 2)]
        refused = next(as_completed(others)).result()
        held.set()
        statuses = sorted(each.result().status_code for each in (first, *others))
    assert statuses == [200, 200, 503]
    assert refused.json()["error"]["code"] == "overloaded" and refused.headers["retry-after"] == "2"


def test_reads_do_not_stand_behind_questions(library):
    library.delay = 1.0
    with serving(library, Settings(port=0, workers=1)) as url, ThreadPoolExecutor(3) as crowd, many(url) as client:
        asked = [crowd.submit(client.post, "/api/ask", json={"question": "key"}) for _ in range(3)]
        time.sleep(0.2)
        assert client.get("/api/documents").status_code == 200
        assert not asked[-1].done()
        assert all(each.result().status_code == 200 for each in asked)


def test_a_client_that_leaves_is_not_worked_for(library: FakeLibrary):
    library.delay = 0.8
    with serving(library, Settings(port=0, workers=1)) as url:
        threads, patience = [], httpx.Timeout(10, read=0.3)
        for _ in range(3):

            def leave() -> None:
                with pytest.raises(httpx.ReadTimeout):
                    httpx.post(f"{url}/api/ask", json={"question": "key"}, headers=JSON, timeout=patience)

            threads.append(threading.Thread(target=leave))
            threads[-1].start()
        for thread in threads:
            thread.join()
        time.sleep(2)
        assert library.asked == 1, "a question whose client had gone was begun"
        assert library.finished == 0, "a question whose client had gone was finished"

"""/api/documents: lists, windows of text, files dropped in under any name, and removal."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from ownlm.rag.types import Mark
from ownlm.serve.settings import Settings

from .conftest import events, serving

JSON = {"accept": "application/json"}


def body(name: str, data: bytes, **more: object) -> dict[str, object]:
    return {"name": name, "content_base64": base64.b64encode(data).decode(), **more}


def add(client, name, data=b"some text", **more):
    return client.post("/api/documents", json=body(name, data, **more), headers=JSON)


def remove(client, key):
    return client.request("DELETE", f"/api/documents/{quote(str(key), safe='')}", json={})


def test_list_pages_and_filters(library, client):
    for number in range(5):
        library.add(f"/docs/more/{number}.md", "x", f"Minutes {number}")
    whole = client.get("/api/documents").json()
    assert whole["total"] == whole["indexed"] == 7 and len(whole["documents"]) == 7
    page = client.get("/api/documents", params={"limit": 2, "offset": 6}).json()
    assert [each["name"] for each in page["documents"]] == ["/docs/𝒰nicode 🗝.md"]
    found = client.get("/api/documents", params={"match": "MINUTES"}).json()
    assert found["total"] == 5 and found["indexed"] == 7
    assert client.get("/api/documents", params={"limit": 0}).json()["error"]["param"] == "limit"


def test_text_by_id_and_by_name(library, client):
    for key in ("2", "/docs/𝒰nicode 🗝.md"):
        shown = client.get(f"/api/documents/{quote(key, safe='')}").json()
        assert shown["text"] == library.extracted(2).text
        assert shown["characters"] == len(shown["text"]) == shown["end"]
    assert client.get("/api/documents/99").status_code == 404
    assert client.get("/api/documents/..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_windows_join_to_the_whole_text_with_the_marks_that_touch_them(library, client):
    text = "".join(f"🗝 line {number}\n" for number in range(500))
    marks = (Mark("heading", 0, 8, 1, "first"), Mark("page", 0, 3000, 0, "1"), Mark("page", 3000, len(text), 0, "2"))
    document = library.add("/docs/long.txt", text, marks=marks)
    joined, at = "", 0
    while True:
        window = client.get(f"/api/documents/{document.id}", params={"start": at, "end": at + 1000}).json()
        assert window["start"] == at and text[window["start"] : window["end"]] == window["text"]
        joined, at = joined + window["text"], window["end"]
        if at == window["characters"]:
            break
    assert joined == text
    assert [mark["label"] for mark in window["marks"]] == ["2"]
    past = client.get(f"/api/documents/{document.id}", params={"start": len(text) + 50}).json()
    assert past["text"] == "" and past["start"] == past["end"] == len(text)


@pytest.mark.parametrize(
    "params", [{"start": 5, "end": 5}, {"start": 9, "end": 2}, {"end": 200_001}, {"start": -1}, {"start": 2**70}]
)
def test_windows_that_make_no_sense_are_refused(client, params):
    assert client.get("/api/documents/1", params=params).status_code == 400


def test_a_dropped_file_is_stored_and_indexed_with_progress(library, client):
    response = client.post(
        "/api/documents", json=body("Plan.md", b"The plan is good."), headers={"accept": "text/event-stream"}
    )
    found = events(response.text)
    assert [name for name, _ in found] == ["progress", "progress", "progress", "done"]
    assert json.loads(found[0][1]) == {"done": 0, "total": 2, "chunks": 0, "current": "Plan.md", "seconds_left": 2.0}
    document = json.loads(found[-1][1])["document"]
    assert document["uploaded"] and document["name"] == str(library.home / "uploads" / "Plan.md")
    assert (library.home / "uploads" / "Plan.md").read_bytes() == b"The plan is good."
    assert not client.get("/api/documents/1").json()["document"]["uploaded"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../x", "x"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:evil.txt", "C_evil.txt"),
        ("a\0b.txt", "ab.txt"),
        ("a\nb\t.txt", "a b.txt"),
        ("\u202egnp.txt", "gnp.txt"),
        ("caf\u0065\u0301.txt", "café.txt"),
        ("half\ud800.txt", "half.txt"),
        (".env", "env"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("<img src=x onerror=alert(1)>.txt", "_img src=x onerror=alert(1)_.txt"),
        ("🗝" * 200 + ".txt", "🗝" * 44 + ".txt"),
        ("x" * 5000, "x" * 180),
        ("a." + "b" * 300, ("a." + "b" * 300)[:180]),
    ],
)
def test_names_are_made_plain_and_never_lead_out(library, client, given, kept):
    raw = json.dumps(body(given, b"text")).encode()
    response = client.post("/api/documents", content=raw, headers={**JSON, "content-type": "application/json"})
    assert response.status_code == 200, response.text
    assert [path.name for path in (library.home / "uploads").iterdir()] == [kept]
    assert not [path for path in library.home.rglob("*") if path.name == kept and path.parent.name != "uploads"]
    assert {path.name for path in library.home.parent.iterdir()} == {"home", "all-MiniLM-L6-v2-q8_0"}


@pytest.mark.parametrize("name", ["", "..", "/", "a/..", "\0", " . ", "\u202e", "\ud800"])
def test_a_name_of_which_nothing_is_left_is_refused(library, client, name):
    raw = json.dumps(body(name, b"text")).encode()
    response = client.post("/api/documents", content=raw, headers={**JSON, "content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "name")
    assert not (library.home / "uploads").exists()


@pytest.mark.parametrize("content", ["!!!!", "YQ", "YQ==\n", "é", "YQ==YQ=="])
def test_what_is_not_base64_is_refused(client, content):
    response = client.post("/api/documents", json={"name": "a.txt", "content_base64": content}, headers=JSON)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "content_base64")


def test_a_file_over_the_limit_is_refused(library):
    with serving(library, Settings(port=0, max_upload_bytes=1000)) as url, httpx.Client(base_url=url) as client:
        assert add(client, "big.txt", b"x" * 1001).status_code == 413
        assert add(client, "huge.txt", b"x" * 5_000_000).status_code == 413
        assert add(client, "right.txt", b"x" * 1000).status_code == 200


def test_many_files_at_once_take_turns(library):
    library.delay = 0.02
    with serving(library) as url, httpx.Client(base_url=url, timeout=60, verify=False) as client:
        with ThreadPoolExecutor(20) as crowd:
            added = list(crowd.map(lambda at: add(client, f"{at}.txt", f"text {at}".encode()).status_code, range(20)))
        assert added == [200] * 20 and len(library.documents()) == 22


@pytest.mark.parametrize("data", [b"", b"\0binary"])
def test_a_file_that_cannot_be_read_is_not_kept(library, client, data):
    response = add(client, "bad.bin", data)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unreadable_document")
    assert not list(library.home.glob("uploads/*"))


def test_the_same_name_again(library, client):
    first = add(client, "Plan.md", b"one").json()["document"]
    assert add(client, "Plan.md", b"one").status_code == 200  # the same bytes are the same file
    refused = add(client, "Plan.md", b"two")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "document_exists")
    assert library.extracted(first["name"]).text == "one"
    both = add(client, "Plan.md", b"two", if_exists="keep_both").json()["document"]
    assert both["name"].endswith("/Plan (2).md") and library.extracted(first["name"]).text == "one"
    add(client, "Plan.md", b"three", if_exists="replace")
    assert library.extracted(first["name"]).text == "three"
    assert add(client, "Plan.md", b"\0", if_exists="replace").status_code == 422
    assert (library.home / "uploads" / "Plan.md").read_bytes() == b"three"


def test_removing_deletes_what_was_added_here_and_nothing_else(library, client, tmp_path):
    mine = tmp_path / "mine.md"
    mine.write_text("mine")
    outside = library.add(str(mine), "mine")
    inside = add(client, "Plan.md").json()["document"]
    assert remove(client, inside["id"]).json()["removed"]["uploaded"]
    assert remove(client, str(mine)).json()["removed"]["id"] == outside.id
    assert mine.read_text() == "mine" and not list(library.home.glob("uploads/*"))
    assert [document.id for document in library.documents()] == [1, 2]
    assert remove(client, 99).status_code == 404


def test_leaving_while_a_file_is_indexed_leaves_nothing_behind(library):
    library.delay = 0.3
    with serving(library) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{url}/api/documents", json=body("Plan.md", b"text"), headers=JSON, timeout=httpx.Timeout(10, read=0.2)
            )
        time.sleep(1)
    assert len(library.documents()) == 2 and not list(library.home.glob("uploads/*"))


def test_the_ledger_lists_and_shows(client):
    for question in ("What costs a lost key?", "What is the meaning of life?"):
        client.post("/api/ask", json={"question": question}, headers=JSON)
    listed = client.get("/api/ledger").json()
    assert listed["total"] == 2 and listed["entries"][1]["question"] == "What costs a lost key?"
    shown = client.get(f"/api/ledger/{listed['entries'][1]['id']}").json()
    assert shown["answer"]["claims"][0]["citations"][0]["quote"] == "A lost key costs 40 pounds."
    assert client.get("/api/ledger/nothing").status_code == 404

"""Who may ask: hosts, origins, keys and forms, on every route."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.errors import InvalidSetting
from ownlm.serve.security import authority
from ownlm.serve.settings import Settings, is_loopback

from .conftest import serving, small_library

KEY = "correct-horse-battery"
PRIVATE = [
    ("GET", "/api/documents"),
    ("GET", "/api/documents/1"),
    ("DELETE", "/api/documents/1"),
    ("POST", "/api/documents"),
    ("POST", "/api/ask"),
    ("GET", "/api/ledger"),
    ("GET", "/api/ledger/0000"),
    ("GET", "/v1/models"),
    ("POST", "/v1/embeddings"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing-here"),
]
PUBLIC = [("GET", "/"), ("GET", "/ui/app.js"), ("GET", "/health")]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """No test here may change it."""
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
def locked(library):
    with (
        serving(library, Settings(port=0, api_key=KEY)) as url,
        httpx.Client(base_url=url, verify=False) as client,
    ):
        yield client


def code(response):
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:9", "127.0.0.1:80"])
def test_own_hosts_are_answered(client, name):
    assert client.get("/health", headers={"host": name}).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "user@localhost", "localhost:", "localhost:x", "::1",
     "10.0.0.1", "localhost evil", "[::1", "", "localhost,evil.example", "0.0.0.0"],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [*PRIVATE[:2], *PUBLIC])
def test_other_hosts_are_refused(client, name, method, path):
    assert code(client.request(method, path, headers={"host": name})) == (421, "host_not_allowed")


def test_two_or_no_host_headers_are_refused(url):
    for head in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=5) as raw:
            raw.sendall(b"GET /api/documents HTTP/1.0\r\n" + head + b"\r\n")
            assert raw.recv(20).split()[1] in {b"400", b"421"}


def test_a_configured_host_is_answered(library):
    with serving(library, Settings(port=0, allowed_hosts=("Docs.Example",))) as url:
        assert httpx.get(f"{url}/health", headers={"host": "docs.example:8123"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "file://"},
        {"origin": "http://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_other_pages_are_refused(client, headers, method, path):
    response = client.request(method, path, headers=headers, json={} if method != "GET" else None)
    assert code(response) == (403, "origin_not_allowed")


def test_our_own_page_is_answered(url, client):
    assert client.get("/api/documents", headers={"origin": url, "sec-fetch-site": "same-origin"}).status_code == 200
    assert client.get("/api/documents", headers={"sec-fetch-site": "none"}).status_code == 200


def test_a_link_elsewhere_may_open_the_page_in_a_tab_only(client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_a_key_is_needed_for_everything_private(locked, method, path):
    body = {} if method != "GET" else None
    for wrong in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer"},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": ""},
    ):
        response = locked.request(method, path, headers=wrong, json=body)
        assert code(response) == (401, "invalid_api_key"), wrong
        assert response.headers["www-authenticate"] == "Bearer" and KEY not in response.text
    if method != "DELETE":
        for right in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}):
            assert locked.request(method, path, headers=right, json=body).status_code != 401


def test_the_page_itself_and_health_need_no_key(locked):
    for method, path in PUBLIC:
        assert locked.request(method, path).status_code == 200


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"question": "x"}', "text/plain"),
        (b'{"question": "x"}', "application/x-www-form-urlencoded"),
        (b'{"question": "x"}', "multipart/form-data; boundary=x"),
        (b'{"question": "x"}', None),
        (b"", "application/json"),
        (b'{"question": "x"}', "application/json-seq"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [each for each in PRIVATE if each[0] != "GET"])
def test_a_change_of_state_needs_a_json_body(library, client, method, path, content, media_type):
    headers = {"content-type": media_type} if media_type else {}
    assert code(client.request(method, path, content=content, headers=headers)) == (415, "json_body_required")
    assert len(library.documents()) == 2 and library.asked == 0


@pytest.mark.parametrize("path", ["/", "/ui/app.js", "/health", "/api/documents", "/v1/models", "/missing"])
def test_every_response_has_the_headers(client, path):
    headers = client.get(path, headers={"origin": str(client.base_url).rstrip("/")}).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"].startswith("req_")
    assert not [name for name in headers if name.startswith("access-control")]
    if path.startswith(("/api", "/v1")):
        assert headers["cache-control"] == "no-store"


def test_preflight_gets_no_permission(client):
    response = client.options(
        "/api/ask", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/v1/nothing", "/api/nothing", "/v1/models/nothing", "/ui/..%2fapp.py"]
)
def test_what_is_not_there_says_so_in_openai_words(client, path):
    assert code(client.get(path))[0] == 404


def test_a_wrong_method_says_so_in_openai_words(client):
    response = client.put("/v1/models", json={})
    assert code(response) == (405, "method_not_allowed") and response.headers["allow"] == "GET"


def test_bodies_are_limited_with_and_without_a_length(library):
    with serving(library, Settings(port=0, max_body_bytes=1000, max_upload_bytes=2000)) as url:
        big = b'{"question": "' + b"x" * 2000 + b'"}'
        headers = {"content-type": "application/json"}
        assert code(httpx.post(f"{url}/api/ask", content=big, headers=headers)) == (413, "body_too_large")
        assert code(httpx.post(f"{url}/api/ask", content=iter([big[:900], big[900:]]), headers=headers))[0] == 413
        assert httpx.get(f"{url}/health").status_code == 200
    assert library.asked == 0


@pytest.mark.parametrize("length", ["-1", "+5", "5_0", "x", "9" * 30])
def test_a_length_that_is_no_number_is_refused(url, length):
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=5)
    connection.putrequest("POST", "/api/ask")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status in {400, 413}
    connection.close()


def test_websockets_are_refused(url):
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=5) as raw:
        raw.sendall(
            b"GET /api/ask HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert raw.recv(20).split()[1] in {b"403", b"405"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_off_localhost_a_key_is_needed(host):
    with pytest.raises(InvalidSetting, match="--api-key"):
        Settings(host=host)
    assert Settings(host=host, api_key=KEY).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_on_localhost_none_is_needed(host):
    assert is_loopback(host) and host in Settings(host=host).hosts


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"api_key": ""},
        {"api_key": "short"},
        {"api_key": "with a space in"},
        {"api_key": "nön-ascii-key"},
        {"host": "http://localhost"},
        {"host": ""},
        {"allowed_hosts": ("*",)},
        {"workers": 0},
        {"max_upload_bytes": 0},
        {"keep_alive_seconds": 0.0},
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(wrong):
    with pytest.raises(InvalidSetting) as refusal:
        Settings(**wrong)
    for secret in ("short", "with a space"):
        assert secret not in str(refusal.value)


def test_the_key_is_not_shown():
    assert KEY not in repr(Settings(api_key=KEY))


@given(st.text(max_size=30))
def test_only_plain_authorities_are_understood(text):
    found = authority(text)
    if found is not None:
        name, port = found
        assert port.isdigit() and name == name.lower() and not set(name) & set("@/ ,\\?#")

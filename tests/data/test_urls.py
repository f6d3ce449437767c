import ipaddress
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forecast.core.errors import BadData, FileMissing, Forbidden, InvalidRequest, TooLarge
from forecast.data.policy import DataPolicy
from forecast.data.urls import fetch, is_public

CSV = b"date,y\n2026-01-01,1\n2026-01-02,2\n2026-01-03,3\n"
OPEN = DataPolicy(allow_private_urls=True, max_url_bytes=10_000, url_timeout_s=5)


class Handler(BaseHTTPRequestHandler):
    """A small site: files, redirects, errors, and a file that never ends."""

    hanging = threading.Event()

    def do_GET(self) -> None:
        fixed = {
            "/loop": (307, {"Location": "/loop"}),
            "/folder/relative": (301, {"Location": "../moved.csv"}),
            "/claims.csv": (200, {"Content-Length": "99999999"}),
        }
        if self.path in fixed:
            self._answer(*fixed[self.path])
        elif self.path.startswith("/to/"):
            self._answer(302, {"Location": self.path.removeprefix("/to/")})
        elif self.path == "/endless.csv":
            self._endless()
        elif self.path == "/slow.csv":
            self.hanging.wait(10)
        elif self.path == "/packed.csv":
            self._answer(200, {"Content-Encoding": "gzip"}, CSV)
        elif self.path.startswith("/status/"):
            self._answer(int(self.path.removeprefix("/status/")), {})
        else:
            self._answer(200, {"Content-Type": "text/csv", "X-Host": self.headers["Host"]}, CSV)

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"1\n" * 1000)
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.hanging.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_with_its_name_and_type(site):
    found = fetch(f"{site}/folder/sales.csv?x=1#part", OPEN)
    assert (found.body, found.name, found.media_type) == (CSV, "sales.csv", "text/csv")


def test_a_name_is_resolved_and_redirects_are_followed(site):
    by_name = site.replace("127.0.0.1", "localhost")
    found = fetch(f"{by_name}/to/{site}/sales.csv", OPEN)
    assert (found.body, found.name) == (CSV, "sales.csv")


def test_a_relative_redirect_is_followed(site):
    assert fetch(f"{site}/folder/relative", OPEN).name == "moved.csv"


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("/loop", BadData, "redirects more than 5 times"),
        ("/status/404", FileMissing, "no such file"),
        ("/status/410", FileMissing, "no such file"),
        ("/status/500", BadData, "status 500"),
        ("/status/206", BadData, "status 206"),
        ("/endless.csv", TooLarge, "10000 bytes"),
        ("/claims.csv", TooLarge, "10000 bytes"),
        ("/packed.csv", BadData, "compresses"),
        ("/to/ftp://example.org/x.csv", InvalidRequest, "http and https"),
        ("/to/file:///etc/passwd", InvalidRequest, "http and https"),
        ("/to/http://u:p@example.org/", InvalidRequest, "user or password"),
    ],
)
def test_an_answer_that_is_no_file_is_refused(site, path, error, text):
    with pytest.raises(error, match=text):
        fetch(site + path, OPEN)


def test_a_server_that_does_not_answer_in_time_is_given_up(site):
    with pytest.raises(BadData, match=r"not fetched within 0\.2 seconds"):
        fetch(f"{site}/slow.csv", DataPolicy(allow_private_urls=True, url_timeout_s=0.2))


def test_an_address_where_nothing_listens_is_bad_data():
    with pytest.raises(BadData, match="cannot be fetched"):
        fetch("http://127.0.0.1:1/x.csv", OPEN)


def test_a_host_that_is_not_known_is_bad_data():
    with pytest.raises(BadData, match="not known"):
        fetch("http://no-such-host.invalid/x.csv", DataPolicy(url_timeout_s=20))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_a_private_host_is_forbidden_however_it_is_written(host):
    with pytest.raises(Forbidden, match="private network"):
        fetch(f"http://{host}/latest/meta-data.csv", DataPolicy())


def test_a_name_is_resolved_once_so_that_it_cannot_change_its_mind(site, monkeypatch):
    real, asked = socket.getaddrinfo, []

    def resolve(host, *args, **kwargs):
        if host == "rebind.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    assert fetch(site.replace("127.0.0.1", "rebind.example") + "/x.csv", OPEN).body == CSV
    assert asked == ["rebind.example"]


def test_a_redirect_into_a_private_network_is_forbidden(site, monkeypatch):
    """The first host passes as public here; the second must still be checked."""
    checked = []

    def is_public_first(address):
        checked.append(str(address))
        return len(checked) == 1

    monkeypatch.setattr("forecast.data.urls.is_public", is_public_first)
    with pytest.raises(Forbidden):
        fetch(f"{site}/to/http://10.0.0.1/x.csv", DataPolicy())
    assert checked == ["127.0.0.1", "10.0.0.1"]


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///x.csv",
        "https://user@example.org/x.csv",
        "https://user:secret@example.org/x.csv",
        "http://example.org:99999/",
        "http://[::1/x",
        "gopher://example.org/",
        "http://example.org/" + "x" * 5000,
    ],
)
def test_what_is_no_plain_url_is_refused_without_a_connection(url):
    with pytest.raises(InvalidRequest) as caught:
        fetch(url, OPEN)
    assert "secret" not in caught.value.detail

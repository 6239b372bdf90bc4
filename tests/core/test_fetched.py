import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from modalign.core import fetched
from modalign.core.content import content_hash
from modalign.core.errors import RowError
from modalign.core.fetched import FetchedMedia
from modalign.core.media import located


class Site(BaseHTTPRequestHandler):
    """`/file` has content, `/to?...` leads elsewhere, `/cut` breaks off, everything else is missing."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
        elif self.path in ("/file", "/empty", "/large", "/cut"):
            self.send_response(200)
            if self.path == "/cut":
                self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write({"/file": b"content", "/empty": b""}.get(self.path, b"x" * 50))
        else:
            self.send_error(404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Site.asked.clear()
    return tmp_path / "fetched"


def test_an_address_is_fetched_once(server, cache):
    assert [FetchedMedia(f"{server}/file").read() for _ in range(3)] == [b"content"] * 3
    assert Site.asked == ["/file"]
    assert [file.read_bytes() for file in cache.iterdir()] == [b"content"]


def test_redirects_within_the_web_are_followed(server):
    assert FetchedMedia(f"{server}/to?/file").read() == b"content"


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:text/plain,a"])
def test_redirects_lead_nowhere_else(server, cache, target):
    with pytest.raises(RowError, match="cannot be fetched"):
        FetchedMedia(f"{server}/to?{target}").read()
    assert not cache.exists()


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/none", "Not Found"), ("/empty", "is empty"), ("/large", "more than 40 bytes"), ("/to?/to", "")],
)
def test_what_cannot_be_had_is_refused(server, cache, monkeypatch, path, reason):
    monkeypatch.setattr(fetched, "MAX_BYTES", 40)
    with pytest.raises(RowError, match=f"cannot be fetched: .*{path[:4]}.*{reason}") as caught:
        FetchedMedia(server + path).read()
    assert caught.value.cure
    assert caught.value.reason == "cannot be fetched"
    assert not cache.exists()


def test_a_file_that_breaks_off_is_not_kept(server, cache):
    with pytest.raises(RowError, match="cannot be fetched"):
        FetchedMedia(f"{server}/cut").read()
    assert not cache.exists()


def test_a_file_that_takes_too_long_is_given_up(server, monkeypatch):
    monkeypatch.setattr(fetched, "LONGEST", -1.0)
    with pytest.raises(RowError, match="not complete after"):
        FetchedMedia(f"{server}/file").read()


def test_a_server_that_is_not_there():
    with pytest.raises(RowError, match="cannot be fetched"):
        FetchedMedia("http://127.0.0.1:1/a").read()
    with pytest.raises(RowError, match="cannot be fetched"):
        FetchedMedia("http://[bad/a").read()


def test_an_address_is_no_path():
    media = FetchedMedia("https://x.org/a.png")
    assert located([media], Path("/data")) == [media]
    assert content_hash(media) != content_hash(FetchedMedia("https://x.org/b.png"))

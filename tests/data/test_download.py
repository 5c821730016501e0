"""Downloads from a server on this machine that breaks off, lies and refuses."""

import hashlib
import http.server
import threading

import pytest

from tensorgrad.data.download import DownloadError, download

CONTENT = bytes(range(256)) * 4096  # 1 MiB
LIMIT = 2 << 20


class Server:
    """One server; each path has a behaviour, and every request is written down as (path, Range header)."""

    def __init__(self):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range")
                outer.requests.append((self.path, wanted))
                start = int(wanted[len("bytes=") :].rstrip("-")) if wanted else 0
                getattr(self, self.path.strip("/").replace("-", "_"))(start)

            def answer(self, body, status=200, length=None, content_range=None):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                if content_range:
                    self.send_header("Content-Range", content_range)
                self.end_headers()
                self.wfile.write(body)

            def rest(self, content, start, upto=None):
                if start >= len(content):
                    self.answer(b"", 416)
                elif start:
                    body = content[start:upto]
                    where = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self.answer(body, 206, len(content) - start, where)
                else:
                    self.answer(content[:upto], 200, len(content))

            def good(self, start):
                self.rest(CONTENT, start)

            def wrong(self, start):
                self.rest(CONTENT[::-1], start)

            def breaks_off(self, start):
                """Sends 300,000 bytes an answer, whatever it announced."""
                self.rest(CONTENT, start, start + 300_000)

            def ignores_range(self, start):
                self.answer(CONTENT)

            def other_range(self, start):
                self.answer(CONTENT[:10], 206, content_range="bytes 0-9/1048576")

            def missing(self, start):
                self.answer(b"not here", 404)

            def too_long(self, start):
                self.answer(b"", 200, 10 * LIMIT)

            def endless(self, start):
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    return  # the reader has left

            def log_message(self, *arguments):
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, behaviour):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{behaviour}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


def verify(path):
    if hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(CONTENT).digest():
        raise ValueError("wrong digest")


def fetch(server, target, *behaviours):
    download([server.url(b) for b in behaviours], target, verify, LIMIT, timeout=10, hint="Do this instead.")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new folder" / "file.bin"


def assert_complete(target):
    assert target.read_bytes() == CONTENT
    assert sorted(path.name for path in target.parent.iterdir()) == [".file.bin.lock", "file.bin"]


def test_good(server, target):
    fetch(server, target, "good")
    assert_complete(target)
    fetch(server, target, "missing")  # is there already
    assert server.requests == [("/good", None)]


def test_a_404_goes_to_the_next_address(server, target):
    fetch(server, target, "missing", "good")
    assert_complete(target)


def test_a_wrong_file_goes_to_the_next_address_from_the_start(server, target):
    fetch(server, target, "wrong", "good")
    assert_complete(target)
    assert server.requests == [("/wrong", None), ("/good", None)]


def test_a_broken_connection_is_taken_up_again_and_then_elsewhere(server, target):
    fetch(server, target, "breaks-off", "good")
    assert_complete(target)
    assert server.requests == [("/breaks-off", None), ("/breaks-off", "bytes=300000-"), ("/good", "bytes=600000-")]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(server, target):
    with pytest.raises(DownloadError, match="breaks-off"):
        fetch(server, target, "breaks-off")
    assert not target.exists()
    assert (target.parent / "file.bin.part").stat().st_size == 600_000
    fetch(server, target, "good")
    assert_complete(target)
    assert server.requests[-1] == ("/good", "bytes=600000-")


def part_of(target, content):
    target.parent.mkdir(parents=True)
    target.with_name("file.bin.part").write_bytes(content)


def test_a_server_that_ignores_range(server, target):
    part_of(target, CONTENT[:1000])
    fetch(server, target, "ignores-range")
    assert_complete(target)


def test_a_server_that_sends_another_range(server, target):
    part_of(target, CONTENT[:1000])
    fetch(server, target, "other-range", "good")
    assert_complete(target)


def test_a_wrong_beginning_is_thrown_away_and_the_same_address_asked_again(server, target):
    part_of(target, b"wrong" * 100)
    fetch(server, target, "good")
    assert_complete(target)
    assert server.requests == [("/good", "bytes=500-"), ("/good", None)]


@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"more"])
def test_a_part_as_long_as_the_file_or_longer(server, target, content):
    part_of(target, content)
    fetch(server, target, "good")
    assert_complete(target)


@pytest.mark.parametrize("behaviour, text", [("too-long", "announces 20971520 bytes"), ("endless", "sends more than")])
def test_no_more_than_the_limit_is_taken(server, target, behaviour, text):
    with pytest.raises(DownloadError, match=text):
        fetch(server, target, behaviour)
    assert not target.exists()
    assert target.with_name("file.bin.part").stat().st_size == 0


def test_what_happens_to_the_connection_is_told(server, target):
    with pytest.raises(DownloadError, match=r"ended after 300000 of 1048576 bytes(?s:.)*after 600000 of 1048576"):
        fetch(server, target, "breaks-off")


def test_a_folder_that_cannot_be_written_is_the_system_s_error(server, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match="a file"):
        fetch(server, blocked / "file.bin", "good")
    assert server.requests == []


def test_all_fail_and_each_is_named(server, target):
    with pytest.raises(DownloadError) as caught:
        fetch(server, target, "missing", "wrong")
    text = str(caught.value)
    assert "could not download file.bin" in text
    assert f"{server.url('missing')}: the server answered 404" in text
    assert f"{server.url('wrong')}: wrong digest" in text
    assert text.endswith("Do this instead.")
    assert not target.exists() and not target.with_name("file.bin.part").exists()


def test_nobody_there(server, target):
    port = server.server.server_address[1]
    server.close()
    with pytest.raises(DownloadError, match="refused"):
        download([f"http://127.0.0.1:{port}/good"], target, verify, LIMIT, timeout=10)
    server.__init__()  # for the fixture to close


def test_two_at_once_fetch_once(server, target):
    errors = []

    def run():
        try:
            fetch(server, target, "good")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert_complete(target)
    assert server.requests == [("/good", None)]

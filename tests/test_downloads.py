"""Downloads from a local server that misbehaves in every way users have met."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import ROOT
from lab.plumbing import downloads
from lab.plumbing.files import LabError, sha256

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
DIGEST = sha256(CONTENT)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.strip("/")
        self.server.asked.append((kind, self.headers.get("Range")))
        first = sum(one[0] == kind for one in self.server.asked) == 1
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
        elif kind == "missing" or (kind == "unavailable" and first) or kind == "down":
            self.send_error(404 if kind == "missing" else 503)
        elif kind == "page":
            self.answer(200, b"<html>error</html>")
        elif kind == "wrong":
            self.answer(200, CONTENT[::-1])
        elif kind == "no-ranges":
            self.answer(200, CONTENT)
        elif kind == "endless":
            self.answer(200, CONTENT * 3, length=False)
        elif kind == "half" and first:
            self.answer(200, CONTENT[: len(CONTENT) // 2], length=len(CONTENT))
        elif kind == "slow":
            self.answer(206 if begin else 200, CONTENT[begin:], pause=0.01)
        else:
            self.answer(206 if begin else 200, CONTENT[begin:])

    def answer(self, status, content, length=None, pause=0):
        self.send_response(status)
        if length is not False:
            self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        try:
            for i in range(0, len(content), 1000):
                self.wfile.write(content[i : i + 1000])
                time.sleep(pause)
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "TRIAL", 0.1)
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_address[1]}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def fetch(server, path, *kinds):
    return downloads.fetch(
        path, [server.url + kind for kind in kinds], len(CONTENT), DIGEST
    )


@pytest.mark.parametrize(
    "kinds",
    [
        ["good"],
        ["redirect"],
        ["half"],
        ["unavailable"],
        ["missing", "good"],
        ["page", "good"],
        ["wrong", "good"],
        ["endless", "good"],
        ["slow", "good"],
        ["down", "good"],
    ],
)
def test_what_a_source_does_wrong_is_repaired(server, tmp_path, kinds):
    path = fetch(server, tmp_path / "new folder" / "data.gz", *kinds)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["data.gz"]


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    fetch(server, tmp_path / "data.gz", "half")
    assert server.asked == [("half", None), ("half", f"bytes={len(CONTENT) // 2}-")]


def test_a_slow_source_is_left_and_its_bytes_are_kept(server, tmp_path):
    fetch(server, tmp_path / "data.gz", "slow", "good")
    kind, begin = server.asked[-1]
    assert kind == "good" and int(begin[6:-1]) > 0


def test_a_source_that_cannot_continue_starts_anew(server, tmp_path):
    (tmp_path / ".data.gz.part").write_bytes(CONTENT[:5000])
    assert fetch(server, tmp_path / "data.gz", "no-ranges").read_bytes() == CONTENT


@pytest.mark.parametrize("begin", [CONTENT[::-1][:5000], CONTENT[::-1], CONTENT * 2])
def test_a_wrong_beginning_is_thrown_away(server, tmp_path, begin):
    (tmp_path / ".data.gz.part").write_bytes(begin)
    assert fetch(server, tmp_path / "data.gz", "good").read_bytes() == CONTENT


def test_another_file_of_that_name_is_left_alone(server, tmp_path):
    path = tmp_path / "data.gz"
    for folder in (path.parent, path.parent / "downloaded"):
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_text("mine")
        found = fetch(server, path, "good")
        assert found.read_bytes() == CONTENT and found.parent.name == "downloaded"
        assert (folder / path.name).read_text() == "mine"
        found.unlink()
    (tmp_path / "data.gz.part").write_text("of a browser")
    path.unlink()
    assert fetch(server, path, "good") == path
    assert (tmp_path / "data.gz.part").read_text() == "of a browser"


def test_the_reason_of_every_source_is_said_and_nothing_bad_gets_the_name(
    server, tmp_path
):
    with pytest.raises(LabError) as error:
        fetch(server, tmp_path / "data.gz", "missing", "page", "wrong")
    assert "HTTP 404" in str(error.value) and "18 bytes instead of 102,400" in str(
        error.value
    )
    assert "another content than expected" in str(error.value)
    assert not (tmp_path / "data.gz").exists()


def test_the_last_source_may_be_slow_but_not_for_hours(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "LONGEST", 0.5)
    with pytest.raises(LabError, match="too slow"):
        fetch(server, tmp_path / "data.gz", "slow")
    monkeypatch.setattr(downloads, "LONGEST", 100)
    assert fetch(server, tmp_path / "data.gz", "slow").read_bytes() == CONTENT


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    with pytest.raises(LabError, match="refused"):
        downloads.fetch(
            tmp_path / "data.gz", ["http://127.0.0.1:9/data.gz"], 10, DIGEST
        )
    assert os.listdir(tmp_path) == []


def test_a_network_that_goes_away_is_no_full_disk(server, tmp_path, monkeypatch):
    fetched, urlopen = [], downloads.urllib.request.urlopen

    def open_or_break(request, **options):
        fetched.append(request.full_url)
        if request.full_url.endswith("half"):
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        return urlopen(request, **options)

    monkeypatch.setattr(downloads.urllib.request, "urlopen", open_or_break)
    assert fetch(server, tmp_path / "data.gz", "half", "good").exists()
    with pytest.raises(LabError, match="half: No route to host"):
        fetch(server, tmp_path / "other.gz", "half")


def test_a_stalled_source_is_left(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    monkeypatch.setattr(downloads, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(LabError, match="no byte for"):
            downloads.fetch(
                tmp_path / "data.gz",
                [f"http://127.0.0.1:{silent.getsockname()[1]}/"],
                10,
                DIGEST,
            )


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="Cannot write .*make its folder writable"):
        fetch(server, tmp_path / "file" / "data.gz", "good")


def test_killed_in_mid_download_a_second_run_goes_on(server, tmp_path):
    script = (
        "from pathlib import Path; from lab.plumbing import downloads;"
        f" downloads.fetch(Path({str(tmp_path / 'data.gz')!r}),"
        f" [{server.url + 'slow'!r}], {len(CONTENT)}, {DIGEST!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL
    )
    part = tmp_path / ".data.gz.part"
    while not (part.exists() and part.stat().st_size > 3000):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "data.gz").exists()
    fetch(server, tmp_path / "data.gz", "good")
    assert int(server.asked[-1][1][6:-1]) > 3000
    assert (tmp_path / "data.gz").read_bytes() == CONTENT


def test_kaggle_is_asked_only_with_credentials(monkeypatch, tmp_path):
    class Hub:
        class config:
            credentials = None

            @classmethod
            def get_kaggle_credentials(cls):
                return cls.credentials

        @staticmethod
        def dataset_download(handle):
            if handle == "nobody/nothing":
                raise RuntimeError("403 Client Error")
            return str(tmp_path)

    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert downloads.kaggle("some/set") is None
    monkeypatch.setitem(sys.modules, "kagglehub", Hub)
    assert downloads.kaggle("some/set") is None
    Hub.config.credentials = object()
    assert downloads.kaggle("some/set") == tmp_path
    with pytest.raises(LabError, match="kagglehub cannot download nobody/nothing .403"):
        downloads.kaggle("nobody/nothing")

    def damaged():
        raise ValueError("Invalid Kaggle credentials file")

    monkeypatch.setattr(Hub.config, "get_kaggle_credentials", damaged)
    with pytest.raises(LabError, match="cannot download some/set .Invalid Kaggle cred"):
        downloads.kaggle("some/set")


SECOND = """
import sys
from pathlib import Path
from lab.plumbing import downloads
downloads.fetch(Path(sys.argv[1]), [sys.argv[2]], int(sys.argv[3]), sys.argv[4])
"""


@pytest.mark.long
def test_two_downloads_of_one_file_fetch_it_once(server, tmp_path):
    words = [
        sys.executable,
        "-c",
        SECOND,
        str(tmp_path / "data.gz"),
        server.url + "slow",
        str(len(CONTENT)),
        DIGEST,
    ]
    started = [
        subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [
        (process.communicate()[1], process.returncode)[1] for process in started
    ] == [0, 0]
    assert (tmp_path / "data.gz").read_bytes() == CONTENT and len(server.asked) == 1

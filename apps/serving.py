"""A page for this machine alone: what the programs with a page have in common.

It imports nothing that takes long, so that a page opens at once.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import traceback
import urllib.parse
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .program import mistake

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
}
# The page loads nothing from elsewhere, and no other page can show it or read from it.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
        " frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A process of its own makes the private folder. It removes the folder when the pipe
# from the program closes: the system closes it however the program ends.
OWNER = """
import signal, sys, tempfile
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
with tempfile.TemporaryDirectory(prefix="dense-to-conv-") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


class Request:
    """What a browser asks for: `query`, {name: value}, and a body of `left` bytes."""

    def __init__(self, query, stream, length):
        self.query, self.left, self._stream = query, length, stream

    def parts(self):
        """Yield the body, bytes, in parts. Raises ConnectionError where it is cut
        off.
        """
        while self.left:
            part = self._stream.read(min(self.left, 1 << 20))
            if not part:
                raise ConnectionError("The body is cut off.")
            self.left -= len(part)
            yield part

    def read(self, most):
        """Return the whole body, bytes. Raises LabError where it is longer than `most`
        bytes.
        """
        if self.left > most:
            raise _mistake(
                f"The file has {self.left / 1e6:,.0f} MB: give one of at most"
                f" {most / 1e6:,.0f} MB."
            )
        return b"".join(self.parts())

    def save(self, path):
        """Write the body to a file, whole or not at all. Raises LabError where the disk
        has no room, and ConnectionError where the body is cut off.
        """
        free = shutil.disk_usage(path.parent).free
        if self.left > free:
            raise _mistake(
                f"The file has {self.left / 1e6:,.0f} MB, and the disk has room for"
                f" {free / 1e6:,.0f} MB: make room, and try again."
            )
        try:
            with open(path, "wb") as file:
                for part in self.parts():
                    file.write(part)
        except OSError as error:
            path.unlink(missing_ok=True)
            if isinstance(error, ConnectionError):
                raise
            raise _mistake(
                f"The file cannot be kept ({error.strerror or error}): make room on the"
                " disk, and try again."
            ) from None


def _mistake(sentence):
    from lab import LabError  # takes seconds, unless the networks are there

    return LabError(sentence)


class Handler(BaseHTTPRequestHandler):
    """Answers by the routes of its server; refuses what the page of another origin
    asks for.
    """

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_GET(self):
        """Answer."""
        self._answer()

    def do_POST(self):
        """Answer."""
        self._answer()

    def log_message(self, *_):
        """Say nothing: what is shown to the page is nobody's business."""

    def own(self):
        """Return whether this machine's own page asks: by a name that no other machine
        can have, and from no page of another origin.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        name = host.rpartition(":")[0] or host
        return name in ("127.0.0.1", "localhost") and origin in (None, f"http://{host}")

    def _answer(self):
        length = self.headers.get("Content-Length", "0")
        if not self.own() or not length.isdecimal():
            self.close_connection = True
            return self._send({"error": "Only the page itself may ask this."}, 403)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        request = Request(query, self.rfile, int(length))
        route = self.server.routes.get((self.command, url.path))
        try:
            answer, status = _heard(route, request) if route else (None, 404)
            if answer is None:
                answer, status = {"error": "There is no such page."}, 404
            for _ in request.parts():
                pass  # a browser reads the answer only when it has sent everything
            self._send(answer, status)
        except ConnectionError:
            self.close_connection = True

    def _send(self, answer, status):
        """Send a dict or a list as JSON, a Path as a file, and what an iterator gives
        as lines of JSON, each as soon as it is there.
        """
        if isinstance(answer, Path):
            kind, size = TYPES[answer.suffix], answer.stat().st_size
            parts = _file(answer)
        elif isinstance(answer, (dict, list)):
            data = json.dumps(answer).encode()
            kind, size, parts = "application/json", len(data), iter([data])
        else:
            kind, size, parts = "application/x-ndjson", None, _lines(answer)
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": kind}).items():
            self.send_header(name, value)
        if size is None:  # in chunks, so that the browser sees where one is cut off
            self.send_header("Transfer-Encoding", "chunked")
            parts = _chunks(parts)
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)


def _heard(route, request):
    """Return a route's answer and its status; a user's mistake is an answer, too."""
    try:
        return route(request), 200
    except ConnectionError:
        raise
    except Exception as error:
        return _sentence(error), 400


def _file(path):
    """Yield the bytes of a file in parts."""
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            yield part


def _chunks(parts):
    """Yield parts as HTTP/1.1 sends an answer of unknown length."""
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _lines(answers):
    """Yield lines of JSON; a user's mistake is the last."""
    with contextlib.closing(answers):
        try:
            for answer in answers:
                yield json.dumps(answer).encode() + b"\n"
        except Exception as error:
            yield json.dumps(_sentence(error)).encode() + b"\n"


def _sentence(error):
    """Return the answer for a user's mistake; what is none is shown in the terminal,
    too.
    """
    if mistake(error):
        return {"error": str(error)}
    traceback.print_exception(error)
    return {
        "error": f"The program has a fault ({type(error).__name__}: {error}); its"
        " terminal says where. What you did before is kept."
    }


def files(folder, *names):
    """Return the routes of files that are as they are; the first is the page."""
    routes = {("GET", f"/{name}"): lambda _, name=name: folder / name for name in names}
    return {("GET", "/"): lambda _: folder / names[0]} | routes


@contextlib.contextmanager
def private_folder():
    """Give a folder that only this user can read, and that is gone when the block or
    the program ends, also when the program is killed.
    """
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # what ends the program's group does not end this
    ) as owner:
        folder = owner.stdout.readline().rstrip("\n")
        if not folder:
            raise SystemExit(
                "\nNo temporary folder can be made: free some disk space, or set TMPDIR"
                " to a folder that can be written."
            )
        yield Path(folder)


def listen(routes, port=None):
    """Return a server that is for this machine alone; its `server_port` is the port.

    routes: {(method, path): function(Request)}; a function returns a dict or a list
        (JSON), a Path (a file), an iterator of dicts (lines of JSON), or None where
        there is nothing. A LabError becomes {"error": sentence}.
    port: None takes a free one.
    Ends the program with a sentence where the port cannot be used.
    """
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
    except (OSError, OverflowError) as error:
        raise SystemExit(  # no LabError: its library may be half loaded
            f"\nThe port {port} cannot be used ({error}): give another, or none."
        ) from None
    server.routes = routes
    return server


def serve(routes, port=None):
    """Serve a page until Ctrl-C or a signal ends the program.

    routes, port: as for `listen`; without a port a browser is opened.
    """
    server = listen(routes, port)
    address = f"http://127.0.0.1:{server.server_port}"

    def end(*_):
        raise KeyboardInterrupt

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    print(f"{address} is open on this machine alone. Ctrl-C ends it.", flush=True)
    with server:
        if port is None:
            opening = threading.Thread(target=webbrowser.open, args=(address,))
            opening.daemon = True  # some browsers answer only when they are closed
            opening.start()
        server.serve_forever(poll_interval=0.1)

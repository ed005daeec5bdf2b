"""Fetch a file whose content is known: resumed, checked, and never half under its
name.
"""

import contextlib
import errno
import http.client
import io
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from .files import LabError, alone, relative, sha256
from .screen import Line, clock

TIMEOUT = 20  # seconds without a byte
TRIES = 3  # of each source
PAUSE = 1  # seconds before the second try, twice as long before the third
SLOW = 200_000  # bytes a second: below this, the next source is tried
TRIAL = 10  # seconds before a source is called slow
LONGEST = 2 * 3600  # seconds that the last source may still need
BLOCK = 1 << 16
UNREACHABLE = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH)


class Refused(Exception):
    """A source cannot give the file; the next one may."""


def fetch(path, urls, size, digest):
    """Download `path`, of `size` bytes and with the SHA-256 `digest`, from the first of
    `urls` that gives it, and return its path.

    Another file of that name is left alone: the download goes into a folder
    `downloaded` beside it. The bytes are collected in a hidden file, which a later call
    goes on from, with any source: all give the same bytes. A source is left after three
    broken connections, or when it is slow and another one is left.

    Where another process is downloading it, wait for that one.

    Raises LabError, with the reason of each source, when none gives the right file.
    """
    with alone(relative(path), f"downloading {path.name}"):
        try:
            path = _free(path, digest)
            if path.exists():
                return path
            path.parent.mkdir(parents=True, exist_ok=True)
            return _fetch(path, urls, size, digest)
        except OSError as error:
            raise LabError(
                f"Cannot write {relative(path)} ({error.strerror or error}): make its"
                " folder writable, or free some disk space, and run again."
            ) from None


def _free(path, digest):
    """Return `path`, or where another file has that name, one in `downloaded`."""
    while path.exists() and not (path.is_file() and sha256(path) == digest):
        path = path.parent / "downloaded" / path.name
    return path


def _fetch(path, urls, size, digest):
    part, reasons, line = path.with_name(f".{path.name}.part"), [], Line()
    for i, url in enumerate(urls):
        try:
            for _ in range(
                1 + part.exists()
            ):  # what was there before may be what is wrong
                _collect(part, url, size, line, last=i + 1 == len(urls))
                if sha256(part) == digest:
                    path = _free(path, digest)  # what came there in the meantime
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(part, path)
                    line.show(f"{path.name}: {size / 1e6:.1f} MB downloaded", last=True)
                    return path
                part.unlink()
            raise Refused("another content than expected")
        except Refused as refusal:
            reasons.append(f"{url}: {refusal}")
    raise LabError("; ".join(reasons))


def _collect(part, url, size, line, last):
    """Bring `part` to `size` bytes from one source, with retries. Raises Refused."""
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    for trial in range(TRIES):
        if trial:
            time.sleep(PAUSE * trial)
        try:
            if not part.exists() or part.stat().st_size < size:
                _stream(part, url, size, line, last)
            if part.stat().st_size == size:
                return
            reason = (
                f"the connection ended after {part.stat().st_size:,} of {size:,} bytes"
            )
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code == 416:  # what has been collected cannot be continued
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                break
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
        except TimeoutError:
            reason = f"no byte for {TIMEOUT} seconds"
        except (http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
        except OSError as error:
            if error.errno not in UNREACHABLE:
                raise
            reason = error.strerror
    raise Refused(reason)


def _stream(part, url, size, line, last):
    """Append to `part` what one connection gives, and show bytes, rate and time
    left.
    """
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"Range": f"bytes={done}-"} if done else {}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if done and answer.status != 206:  # the source starts anew
            done = 0
        length = answer.headers.get("Content-Length")
        if length and int(length) + done != size:
            raise Refused(f"{int(length) + done:,} bytes instead of {size:,}")
        begin, first, shown = time.monotonic(), done, 0
        with open(part, "ab" if done else "wb") as file:
            while block := answer.read1(BLOCK):
                file.write(block)
                done += len(block)
                seconds = time.monotonic() - begin
                rate = (done - first) / max(seconds, 1e-9)
                if seconds >= shown:
                    line.show(
                        f"{part.stem[1:]}: {done / 1e6:.1f} of {size / 1e6:.1f} MB,"
                        f" {rate / 1e6:.2f} MB/s, {clock((size - done) / rate)} left"
                    )
                    shown = seconds + 0.5
                if done > size:
                    file.truncate(0)
                    raise Refused(f"more than {size:,} bytes")
                if (
                    seconds > TRIAL
                    and rate < SLOW
                    and (not last or (size - done) / rate > LONGEST)
                ):
                    raise Refused(f"too slow ({rate / 1000:.0f} kB/s)")


def kaggle(handle):
    """Return the folder to which kagglehub has downloaded a data set of Kaggle.

    Returns None where kagglehub or the reader's credentials are not there: they are
    never asked for here. Source: https://github.com/Kaggle/kagglehub (authentication).
    Raises LabError where Kaggle refuses.
    """
    try:
        import kagglehub
    except ImportError:
        return None
    try:
        if kagglehub.config.get_kaggle_credentials() is None:
            return None
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # kagglehub has no common class of errors
        raise LabError(f"kagglehub cannot download {handle} ({error})") from None

"""Where things are, and how they are written: whole, or not at all."""

import hashlib
import json
import os
import platform
import secrets
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[3]  # the repository


class LabError(Exception):
    """A mistake that a user can mend. Its text says what is wrong and what to do."""

    __module__ = "lab"  # how an uncaught one introduces itself: lab.LabError

    def _render_traceback_(self):
        """Show one sentence in a notebook instead of a traceback (an IPython hook)."""
        return [f"{type(self).__name__}: {self}"]


def relative(path):
    """Return `path` as text seen from the repository, so that it names no folder of the
    machine; one that lies elsewhere as it is.
    """
    path = Path(path)
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def located(path):
    """Return a file or folder that exists, or None.

    `~` is the reader's own folder. A relative path is seen from where Python or the
    notebook was started, then from the repository.
    """
    try:
        path = Path(path).expanduser()
        return next((place for place in (path, ROOT / path) if place.exists()), None)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have
        return None


def text_of(path):
    """Return the text of a file. Raises LabError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LabError(f"{relative(path)} is not UTF-8: save it as UTF-8.") from None


def sha256(*parts):
    """Return the SHA-256 in hexadecimal of bytes, texts and files (Path), one after
    another.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            part = part.read_bytes()
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def beside(path):
    """Return a temporary name in the folder of `path`, with its ending, that no other
    process or host can have.
    """
    return path.with_name(
        f".{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}{path.suffix}"
    )


@contextmanager
def writing(path):
    """Give a temporary path to write to; it becomes `path` when the block ends well.

    Raises LabError where the disk or the folder refuses; an earlier file stays whole.
    """
    path = Path(path)
    part = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with open(part, "rb+") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise LabError(
            f"Cannot write {relative(path)} ({error.strerror or error}): "
            "make its folder writable, or free some disk space, and run again."
        ) from None
    finally:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None


def write(path, content):
    """Write text or bytes to `path` atomically."""
    with writing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def alone(key, what):
    """Let one process at a time do what `key` stands for: while another does it, say
    who does `what`, and wait.

    The lock is a file in build/locks, which the system frees when its owner dies. Not
    to be nested with the same key.
    Raises LabError where that folder cannot be written.
    """
    path = ROOT / "build" / "locks" / f"{sha256(key)[:16]}.lock"
    lock, owner = FileLock(path), path.with_suffix(".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{what}: {_owner(owner)} is at it; waiting for it.")
            lock.acquire()
    except OSError as error:
        raise LabError(
            f"Cannot write {relative(path)} ({error.strerror or error}): make its"
            " folder writable, or free some disk space, and run again."
        ) from None
    try:
        about = {
            "host": platform.node(),
            "process": os.getpid(),
            "since": datetime.now().isoformat(" ", "seconds"),
        }
        write(owner, json.dumps(about))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _owner(path):
    """Return who holds a lock, in words."""
    try:
        about = json.loads(path.read_text())
        return f"process {about['process']} on {about['host']}, since {about['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"

"""The files of a run: written whole, and read only where they are undamaged."""

import errno
import json
import os
import shutil
import subprocess
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from .files import ROOT, LabError, beside, relative, sha256, write, writing

if find_spec("_lzma") is None:
    raise LabError(
        "This Python has no lzma, with which the files of the runs are packed: install"
        " xz (on Ubuntu liblzma-dev) and build Python again, or take another Python."
    )

WATCHING = []  # functions that are called with the folder of each run that is stored


def read(path):
    """Return (record, history, predictions) of the finished run stored in the folder
    `path`, or None where there is none.

    Raises LabError when its files do not belong together. A folder that another process
    replaces meanwhile is read anew.
    """
    path = Path(path)
    while True:
        before = _inode(path)
        try:
            run = _read(path)
        except LabError:
            if _inode(path) == before:
                raise
        else:
            if _inode(path) == before:
                return run


def _inode(path):
    with suppress(OSError):
        return path.stat().st_ino


def _read(path):
    if not (path / "run.json").exists():
        return None
    try:
        record = json.loads((path / "run.json").read_text())
        if not isinstance(record, dict):
            raise ValueError("run.json holds no record")
        if sha256(path / "predictions.npz") != record["predictions_sha256"]:
            raise ValueError("predictions.npz has another hash")
        with np.load(path / "predictions.npz") as arrays:
            predictions = dict(arrays)
        return record, pd.read_csv(path / "history.csv"), predictions
    except (OSError, ValueError, KeyError) as error:
        raise LabError(
            f"The run in {relative(path)} is damaged ({error}): "
            f"git checkout {relative(path)}, or delete the folder to train it again."
        ) from None


def load_weights(path, record, model, classes):
    """Put the stored weights of the run in the folder `path` into a freshly
    built `model` and return it.

    Raises LabError where they were not kept, are missing or altered, are those of
    another network, or where the network's answers are not these `classes`, in this
    order.
    """
    stored, digest = path / "weights.npz", record["weights_file_sha256"]
    name = "/".join(path.parts[-4:])
    if digest is None:
        raise LabError(
            f"{name} was stored without its weights: take a seed whose job has"
            " weights=True, or train it so."
        )
    if not stored.exists() or sha256(stored) != digest:
        raise LabError(
            f"{relative(stored)} is missing or altered: git checkout"
            f" {relative(stored)}, or delete the folder {relative(path)} to train it"
            " again."
        )
    with np.load(stored) as arrays:
        keys = sorted(filter(str.isdigit, arrays), key=int)
        kept = [arrays[key].astype(np.float32) for key in keys]
        # Our first runs do not name the classes.
        order = arrays["classes"].tolist() if "classes" in arrays else list(classes)
    if order != list(classes):
        raise LabError(
            f"The answers of {name} are {', '.join(order)}, in this order, and not"
            f" {', '.join(classes)}."
        )
    if [w.shape for w in kept] != [tuple(w.shape) for w in model.weights]:
        raise LabError(
            f"The weights of {name} do not fit the network, which has changed since:"
            " train it again."
        )
    model.set_weights(kept)
    return model


def waiting(folder):
    """Return the folder, beside a folder of runs, in which finished seeds of a network
    wait for the others.
    """
    return Path(folder).parent / "next"


def finished(folder, name, mark, tested, kept):
    """Return the folder of a finished run with the fingerprint `mark`, in a folder of
    runs or waiting beside it; or None.

    tested, kept: whether it must have predicted the test images, and kept its weights.
    """
    home = Path(folder) / name
    for path in (home, waiting(folder) / name, home):  # it may be moved meanwhile
        record, *_ = read(path) or [{"fingerprint": None}]
        if record["fingerprint"] != mark or tested and "test" not in record["metrics"]:
            continue
        if record["weights_file_sha256"] or not kept:
            return path
    return None


def place(folder, record):
    """Return where a finished run is to be stored: a headline run of another recipe
    than the one that stands in the folder of runs waits beside it.
    """
    parts = [record[part] for part in ("dataset", "model", "variant")]
    name = "/".join([*parts, f"seed-{record['seed']}"])
    here = read(Path(folder) / name) if record["variant"] == "main" else None
    if here and here[0]["fingerprint"] != record["fingerprint"]:
        folder = waiting(folder)
    return Path(folder) / name


def store(path, record, history, predictions, weights, classes):
    """Write a finished run into a folder beside `path`, then put it in its place as a
    whole.

    record: run.json without the hashes of its files, which are added. weights: arrays,
        or None where they are not kept; classes: the names of the network's answers.
    """
    fresh = beside(path)
    try:
        with writing(fresh / "predictions.npz") as part:
            _pack(part, predictions)
        record["predictions_sha256"] = sha256(fresh / "predictions.npz")
        record["weights_file_sha256"] = None
        if weights is not None:
            arrays = {f"{i:03d}": _half(w) for i, w in enumerate(weights)}
            with writing(fresh / "weights.npz") as part:
                _pack(part, {"classes": classes} | arrays)
            record["weights_file_sha256"] = sha256(fresh / "weights.npz")
        text = history.to_csv(index=False, lineterminator="\n")
        write(fresh / "history.csv", text)
        text = json.dumps(record, indent=1, sort_keys=True)
        write(fresh / "run.json", text + "\n")
        put(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for function in WATCHING:
        function(path)


def put(fresh, path):
    """Rename the folder `fresh` to `path`, in place of what is there, whoever else does
    the same; or leave all as it was.
    """
    while True:
        old = beside(path)
        with suppress(FileNotFoundError):
            os.replace(path, old)
        try:
            os.replace(fresh, path)
        except BaseException as error:
            if old.exists() and not path.exists():
                os.replace(old, path)
            if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        finally:
            shutil.rmtree(old, ignore_errors=True)


def move(old, path):
    """Put the stored run in the folder `old` into `path`, in place of what is there;
    folders that are empty then go.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if old.exists() and old != path:
        put(old, path)
        with suppress(OSError):  # of the first that is not empty
            for folder in list(old.parents)[:4]:
                folder.rmdir()


def git_commit():
    """Return HEAD's hash, with -dirty when tracked files differ from it; None outside
    git.
    """

    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def run_sha256(path):
    """Return the SHA-256 of a run's record and history (the record holds the hashes of
    the rest).
    """
    return sha256(Path(path) / "run.json", Path(path) / "history.csv")


def weights_sha256(network):
    """Return the SHA-256 of all weights as float32, in the model's order."""
    return sha256(*(np.ascontiguousarray(w, "<f4") for w in network.get_weights()))


def _pack(path, arrays):
    """Write {name: array} as an .npz file, a twelfth smaller than NumPy writes it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array))


def _half(weight):
    """Return a weight as float16; as it is, where a number is too large for that."""
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    return half if np.isfinite(half).all() else weight

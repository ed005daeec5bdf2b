"""Images and splits of a data set: from the cache, from its files, or from a folder."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from . import photos, sources
from .files import ROOT, LabError, located, relative, sha256, write, writing

SPLITS = ("training", "validation", "test")
CACHE = ROOT / "data" / "cache"
ORDERS = ROOT / "data" / "splits" / "orders.npz"
JPEG = "fer2013_jpeg"
FER2013_PREFIXES = {
    "Training": "training",
    "PublicTest": "validation",
    "PrivateTest": "test",
}


def official(known):
    """Return the images and labels of a known data set: from the cache, the files or
    the network.

    Raises MissingFiles where there are none.
    """
    folder = CACHE / known.name
    arrays = _cached(folder, known.sha256)
    if arrays is None:
        arrays = _published(known)
        if known.name != "digits":
            _store(folder, *arrays)
            arrays = _cached(folder, known.sha256) or arrays
    return arrays


def _published(known):
    """Return the images and labels of the first files that hold the published
    content.
    """
    reasons = []
    try:
        for where, content in known.source(known):
            if isinstance(content, LabError):
                reasons.append(f"{where} cannot be used: {content}")
                continue
            images, labels = in_order(known.name, *content)
            if content_hash(images, labels) == known.sha256:
                return images, labels
            reasons.append(
                f"{where} holds other images or labels than the published ones"
            )
    except LabError as error:
        reasons.append(f"it cannot be downloaded ({error})")
    raw = sources.raw()
    reasons = reasons or [f"its files are not in {relative(raw)}"]
    if raw.is_dir() and (names := sorted(photos.legible(n) for n in os.listdir(raw))):
        more = " and more" if len(names) > 12 else ""
        reasons.append(f"{relative(raw)} holds {', '.join(names[:12])}{more}")
    raise MissingFiles("; ".join(dict.fromkeys(reasons)))


def in_order(name, images, labels):
    """Return images and labels in the published order, where that is stored and has as
    many; folders of pictures and some tables have another one.

    data/splits/orders.npz holds, for each data set, the published positions of its
    images, these sorted by the SHA-256 of image and label.
    """
    try:
        with np.load(ORDERS) as stored:
            positions = stored[name]
    except sources.DAMAGED:
        return images, labels
    if len(positions) != len(images):
        return images, labels
    order = np.empty(len(images), np.int64)
    order[positions] = by_hash(images, labels)
    return images[order], labels[order]


def by_hash(images, labels):
    """Return the positions of images, sorted by the SHA-256 of image and label."""
    keys = [sha256(i.tobytes(), bytes([label])) for i, label in zip(images, labels)]
    return np.argsort(keys, kind="stable")


def place(name):
    """Return the folder called `name`, or None: it is looked for as all paths are, see
    `files.located`, then in the raw folder.
    """
    found = [located(path) for path in (name, sources.raw() / name) if name]
    return next((path for path in found if path and path.is_dir()), None)


def folder(name, size, grey, official, taken):
    """Return what a folder of class folders holds: (name, title, (images, labels,
    splits), what else is known of it).

    official: the classes of FER2013 where the folder holds its JPEG files, else None.
    taken: names that belong to other data sets.
    """
    if name == JPEG:
        path, size, grey = sources.fer2013_jpeg(), 48, True
        plain, title = JPEG, "FER2013 (JPEG)"
        if path is None:
            raise LabError(
                "The JPEG files of FER2013 are not here: unpack msambare/fer2013 of"
                f" Kaggle into {relative(sources.raw())}/."
            )
    else:
        path = place(name)
        if path is None:
            raise LabError(
                f"There is no folder {name}: give the path of a folder that holds a"
                " folder of pictures for each class (an archive is unpacked first). A"
                " relative path is seen from where this runs, then from the repository."
            )
        title = path.resolve().name
        plain = photos.slug(title)
        plain = f"my-{plain}" if plain in taken else plain
    files, unused = photos.listing(path)
    if not files and (path / "_collected").is_dir():
        raise LabError(
            f"The pictures in {name} are not divided yet: run make collect"
            f' FOLDER="{name}" STEP=split.'
        )
    facts = [
        (relative(file), file.stat().st_size, file.stat().st_mtime_ns)
        for file, _, _ in files
        if os.path.exists(file)
    ]
    kind = f"{plain}-{size}-{'grey' if grey else 'rgb'}"
    more = sorted(map(relative, unused)), photos.FORMATS
    key = json.dumps([facts, size, grey, official, *more])
    cache = CACHE / f"{kind}-{sha256(Path(photos.__file__), key)[:12]}"
    try:
        about = json.loads((cache / "about.json").read_text())
        with np.load(cache / "splits.npz") as stored:
            splits = {split: stored[split] for split in SPLITS}
        arrays = _cached(cache, about["sha256"])
    except sources.DAMAGED:
        arrays = None
    if arrays is None:
        arrays, about, splits = _read_folder(path, size, grey, official)
        about["path"] = str(path.resolve())
        for old in CACHE.glob(f"{kind}-????????????"):  # of what the folder held before
            if old != cache:  # another process may be writing the same
                _warn(old, about["path"], title)
                shutil.rmtree(old, ignore_errors=True)
        _store(cache, *arrays, splits, about)
    return plain, title, (*arrays, splits), about


def _warn(cache, path, title):
    """Say so where what is kept was read from another folder, which is still there."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        other = Path(json.loads((cache / "about.json").read_text())["path"])
        if other != Path(path) and other.is_dir():
            print(
                f"{relative(other)} has the same name, {title}: trainings on one of the"
                " two folders replace those on the other. Rename one to keep both."
            )


def _read_folder(path, size, grey, classes):
    """Return (images, labels), what to remember beside them, and the splits of a
    folder.
    """
    names, images, labels, given, files, left_out, refused = photos.read_folder(
        path, size, grey, classes
    )
    prefixes = [file.name.split("_")[0] for file in files]
    if classes and set(prefixes) == set(FER2013_PREFIXES):
        given, division = (
            [FER2013_PREFIXES[prefix] for prefix in prefixes],
            "the official ones, from the file names",
        )
    elif any(given):
        drawn = [split for split in SPLITS if split not in given]
        division = "those of the folders" + (
            f", with {' and '.join(drawn)} drawn from training" if drawn else ""
        )
        for split in ("validation", "test"):
            there = {label for label, own in zip(labels, given) if own == split}
            lacking = [name for i, name in enumerate(names) if i not in there]
            if there and lacking:
                division += f"; {split} has no {', '.join(lacking[:5])}"
    else:
        division = (
            f"drawn, {1 - 2 * photos.SHARE:.0%} / {photos.SHARE:.0%} /"
            f" {photos.SHARE:.0%} of each class"
        )
    split = np.array(photos.divide(images, labels, given, names, refused), dtype=object)
    kept = np.flatnonzero([name is not None for name in split])
    left_out |= {
        files[i]: "the same pixels as an image of another split"
        for i in np.flatnonzero([name is None for name in split])
    }
    about = {
        "classes": names,
        "division": division,
        "sha256": content_hash(images[kept], labels[kept]),
        "left_out": sorted(
            (photos.legible(file.relative_to(path).as_posix()), reason)
            for file, reason in left_out.items()
        ),
    }
    return (
        (images[kept], labels[kept]),
        about,
        {name: np.flatnonzero(split[kept] == name) for name in SPLITS},
    )


def _cached(folder, digest):
    """Return the images, mapped into memory, and labels stored in a folder, if their
    hash is `digest`.
    """
    try:
        images, labels = (
            np.load(folder / "images.npy", mmap_mode="r"),
            np.load(folder / "labels.npy"),
        )
        return (images, labels) if content_hash(images, labels) == digest else None
    except (OSError, ValueError, EOFError):
        return None


def _store(folder, images, labels, splits=None, about=None):
    """Keep what was decoded, so that it need not be decoded again; where that cannot be
    written, say so.
    """
    try:
        for name, array in (("images", images), ("labels", labels)):
            with writing(folder / f"{name}.npy") as part:
                np.save(part, array)
        if about:
            with writing(folder / "splits.npz") as part:
                np.savez(part, **splits)
            write(folder / "about.json", json.dumps(about))
    except LabError as error:
        print(f"The decoded images are not kept: {error}")


class MissingFiles(LabError):
    """The files of a data set are neither here nor to be downloaded."""


def content_hash(images, labels):
    """Return the SHA-256 of uint8 images and integer labels, shapes included."""
    return sha256(str(images.shape), np.ascontiguousarray(images), labels.astype("<i8"))


def split_hash(splits):
    """Return the SHA-256 of three arrays of positions."""
    return sha256(*(splits[name].astype("<i8").tobytes() + b"|" for name in SPLITS))


def read_splits(known):
    """Return the committed splits of a known data set, from data/splits/.

    They were drawn once by `taught.stratified` (those of FER2013 are the official ones)
    and are stored, so that no version of any library can move an image from one split
    to another.
    """
    path = ROOT / "data" / "splits" / f"{known.name}.npz"
    try:
        with np.load(path) as stored:
            splits = {name: stored[name].astype(np.int64) for name in SPLITS}
    except sources.DAMAGED:
        splits = None
    if splits is None or split_hash(splits) != known.split_sha256:
        raise LabError(
            f"data/splits/{known.name}.npz is missing or altered: "
            f"git checkout data/splits/{known.name}.npz"
        )
    return splits


def of_classes(wanted, labels, splits):
    """Return the positions of the images of the classes `wanted`, their labels as
    positions in `wanted`, and the splits that they make.
    """
    places = np.full(max(*wanted, *labels) + 1, -1)
    places[wanted] = np.arange(len(wanted))
    kept = np.flatnonzero(places[labels] >= 0)
    parts = {
        name: np.searchsorted(kept, np.intersect1d(kept, part))
        for name, part in splits.items()
    }
    return kept, places[labels[kept]], parts

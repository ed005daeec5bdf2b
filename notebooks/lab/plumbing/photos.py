"""Anybody's own pictures: a folder of class folders becomes a data set."""

import os
import re
import struct
import time
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .files import LabError, sha256
from .screen import Line, clock

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
LARGEST = 100_000_000  # pixels: more is taken for a decompression bomb
SIZES = range(16, 257)  # pixels a side; the networks pool down to nothing below
SPLIT_FOLDERS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SHARE = 0.15  # of each class, for validation and for test where they are not given
THREADS = 2


class Unreadable(Exception):
    """A file is left out; the text says why."""


def slug(name):
    """Return a name in small ASCII letters, digits and hyphens, for files and keys."""
    decomposed = unicodedata.normalize("NFKD", name)
    plain = (
        re.sub(
            r"[^a-z0-9]+", "-", decomposed.encode("ascii", "ignore").decode().lower()
        ).strip("-")[:60]
        or "folder"
    )
    lost = any(
        letter.isalnum() and not letter.isascii() for letter in decomposed
    )  # other names must not become the same
    return f"{plain}-{sha256(os.fsencode(name))[:6]}" if lost else plain


def legible(name):
    """Return a file's name as text that can be printed, whatever bytes it holds."""
    return name.encode("utf-8", "replace").decode()


def listing(folder):
    """Return ([(path, split or None, class)], {path: reason}) of a folder of class
    folders.

    Where train/, val/ or test/ folders are there, the class folders are in them. Hidden
    files are passed over; links to folders are not followed.
    """
    tops = {entry.name: entry for entry in _folders(folder)}
    given = {
        entry: SPLIT_FOLDERS[name.lower()]
        for name, entry in tops.items()
        if name.lower() in SPLIT_FOLDERS
    }
    if len(given) < len(tops):  # beside other folders "train" may be a class
        given = {entry: split for entry, split in given.items() if _folders(entry)}
    if "training" not in given.values():
        given = {folder: None}
    files, left_out = [], {}
    for top, split in given.items():
        for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
            if entry.is_symlink() and entry.is_dir():
                left_out[Path(entry)] = "a link to a folder"
        for kind in _folders(top):
            for here, folders, names in os.walk(kind):
                folders[:] = sorted(
                    name for name in folders if not name.startswith(".")
                )
                files += [
                    (Path(here) / name, split, legible(kind.name))
                    for name in sorted(names)
                    if not name.startswith(".")
                ]
    return files, left_out


def _folders(folder):
    """Return the folders in a folder, sorted, without hidden ones and links."""
    return [
        Path(entry)
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        if entry.is_dir(follow_symlinks=False)
        and not entry.name.startswith((".", "__MACOSX"))
    ]


def read_picture(path, size, grey):
    """Return a picture as uint8 (size, size, 1 or 3): upright, its centre square,
    scaled down or up.

    Raises Unreadable with the reason.
    """
    picture = ImageOps.fit(
        open_picture(path, size, grey), (size, size), Image.Resampling.LANCZOS
    )
    return np.asarray(picture).reshape(size, size, -1)


def open_picture(path, size, grey):
    """Return a picture, upright, of 8 bits, grey or in colour; a much larger one than
    `size` pixels is decoded smaller.

    path: of a file, or a file that is open. Transparent parts become white; of an
        animation the first picture is taken.
    Raises Unreadable with the reason.
    """
    try:
        if isinstance(path, Path) and path.stat().st_size == 0:
            raise Unreadable("empty")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's warnings on large pictures and odd metadata
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > LARGEST:
                    raise Unreadable(
                        f"too large: {picture.width:,} × {picture.height:,} pixels"
                    )
                picture.draft(
                    "L" if grey else "RGB", (2 * size, 2 * size)
                )  # JPEG: decoded small
                smaller = min(picture.size) // (4 * size)
                if smaller > 1 and picture.mode in ("L", "RGB", "RGBA", "CMYK"):
                    exif, picture = picture.getexif(), picture.reduce(smaller)
                    picture.info["exif"] = exif.tobytes()
                picture = ImageOps.exif_transpose(picture)
                return _plain(picture).convert("L" if grey else "RGB")
    except Image.UnidentifiedImageError:
        raise Unreadable("not a picture, or damaged") from None
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"too large: more than {LARGEST:,} pixels") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        ZeroDivisionError,
        OverflowError,
        struct.error,
    ) as error:
        raise Unreadable(f"damaged: {str(error) or type(error).__name__}") from None


def _plain(picture):
    """Return a picture of 8 bits a channel without transparency."""
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits of grey
        values = np.asarray(picture, dtype=np.float64)
        scale = (
            65535
            if picture.mode.startswith("I;16") or values.max() > 255
            else 255
            if values.max() > 1
            else 1
        )
        return Image.fromarray(np.uint8(np.clip(values / scale, 0, 1) * 255))
    if (
        picture.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        or "transparency" in picture.info
    ):
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def read_folder(folder, size, grey, classes=None):
    """Read a folder of class folders.

    size: height and width of the images; grey: one channel instead of three.
    classes: class names in their order, or None for all, sorted.
    Returns (classes, images, labels, split of each image or None, files, {file: reason
    left out}).
    Raises LabError where fewer than two classes can be read.
    """
    if not isinstance(size, int) or size not in SIZES:
        raise LabError(
            f"IMAGE_SIZE is {size!r}: set it to a whole number from {SIZES[0]} to"
            f" {SIZES[-1]}."
        )
    files, left_out = listing(folder)
    names = sorted({kind for _, _, kind in files}) if classes is None else list(classes)
    files = [one for one in files if one[2] in names]
    images = np.empty((len(files), size, size, 1 if grey else 3), np.uint8)
    kept, line, begin = [], Line(), time.monotonic()

    def read(i):
        try:
            images[i] = read_picture(files[i][0], size, grey)
        except Unreadable as reason:
            return str(reason)

    with ThreadPoolExecutor(THREADS) as pool:
        for i, reason in enumerate(pool.map(read, range(len(files)))):
            if reason:
                left_out[files[i][0]] = reason
            else:
                images[len(kept)] = images[i]
                kept.append(files[i])
            if i % 200 == 199 or i + 1 == len(files):
                left = (time.monotonic() - begin) / (i + 1) * (len(files) - i - 1)
                line.show(
                    f"{folder.name}: {i + 1:,} of {len(files):,} files read,"
                    f" {clock(left)} left",
                    last=i + 1 == len(files),
                )
    if not kept:
        raise LabError(
            f"No picture can be read in {folder}: it must hold a folder for each class,"
            " with pictures in them (jpg, png, webp, bmp, gif or tiff)."
        )
    labels = np.array([names.index(kind) for _, _, kind in kept], np.int64)
    return (
        names,
        images[: len(kept)],
        labels,
        [split for _, split, _ in kept],
        [path for path, _, _ in kept],
        left_out,
    )


def divide(images, labels, given, classes, seed=0):
    """Return the split of each image, or None for one to leave out.

    given: the split that the folders say, or None, for each image. What is not given is
        drawn from the rest, stratified by class. Images with the same pixels never
        stand in two splits: where none is given they go together; else a copy gives way
        to the one in test, then in validation.

    Raises LabError where there are fewer than two classes, or a class has fewer than
    three different images, or none to train on.
    """
    keys = [sha256(image.tobytes()) for image in images]
    order = ("test", "validation", "training", None)
    split_of, class_of = {}, {}
    for key, split, label in zip(keys, given, labels):
        split_of[key] = min(split, split_of.get(key), key=order.index)
        class_of.setdefault(key, label)
    counts = np.bincount(list(class_of.values()), minlength=len(classes))
    if len(classes) < 2:
        raise LabError(
            f"There is one class only ({', '.join(classes)}): two are needed."
        )
    if counts.min() < 3:
        few = ", ".join(
            f"{classes[i]} ({counts[i]})" for i in np.flatnonzero(counts < 3)
        )
        raise LabError(
            "Each class needs three different readable images at least; these have"
            f" fewer: {few}."
        )
    rng = np.random.default_rng(seed)
    missing = [split for split in ("validation", "test") if split not in given]
    for label in range(len(classes)):
        free = [
            key
            for key, split in split_of.items()
            if split in ("training", None) and class_of[key] == label
        ]
        if len(free) <= len(missing):
            raise LabError(
                f"The class {classes[label]} has too few images to train on."
            )
        drawn, count = rng.permutation(len(free)), max(1, round(SHARE * len(free)))
        split_of |= {free[i]: "training" for i in drawn}
        for k, split in enumerate(missing):
            split_of |= {free[i]: split for i in drawn[k * count : (k + 1) * count]}
    drawn_too = {"training", None} | set(missing)
    return [
        (
            split_of[key]
            if split_of[key] == split
            or (split in (None, "training") and split_of[key] in drawn_too)
            else None
        )
        for key, split in zip(keys, given)
    ]


def pictures(source, shape):
    """Return (names, uint8 images of `shape`) of a file, a folder or an array."""
    height, width, channels = shape
    if isinstance(source, np.ndarray):
        images = source[None] if source.ndim == 3 else source
        if (
            images.ndim != 4
            or images.shape[-1] not in (1, 3)
            or images.dtype != np.uint8
            or not len(images)
        ):
            raise LabError(
                "An array of images is uint8 of shape (n, height, width, 1 or 3); this"
                f" is {source.dtype} {source.shape}."
            )
        images = [
            Image.fromarray(image.squeeze(axis=-1) if image.shape[-1] == 1 else image)
            for image in images
        ]
        resized = [
            np.asarray(
                ImageOps.fit(
                    image.convert("L" if channels == 1 else "RGB"),
                    (width, height),
                    Image.Resampling.LANCZOS,
                )
            )
            for image in images
        ]
        return list(range(len(images))), np.stack(resized).reshape(-1, *shape)
    path = Path(source)
    files = (
        sorted(
            one
            for one in path.rglob("*")
            if one.is_file() and not one.name.startswith(".")
        )
        if path.is_dir()
        else [path]
    )
    names, images = [], []
    for file in files:
        try:
            images.append(read_picture(file, height, channels == 1))
            names.append(file.name)
        except Unreadable as reason:
            print(f"{legible(str(file))} is left out: {reason}")
    if not images:
        raise LabError(
            f"No picture can be read in {legible(str(path))}: give a picture"
            " file, a folder of pictures or an array."
        )
    return names, np.stack(images)

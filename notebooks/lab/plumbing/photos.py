"""Anybody's own pictures: a folder of class folders becomes a data set."""

import contextlib
import os
import re
import time
import unicodedata
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from . import world
from .files import LabError, located, sha256
from .screen import Line, clock

with contextlib.suppress(ImportError):  # reads HEIC, where it is installed
    import pillow_heif

    pillow_heif.register_heif_opener()
Image.init()
# Pillow warns of large pictures and odd metadata; what it cannot read is named.
warnings.filterwarnings("ignore", module=r"PIL\.")
FORMATS = [
    name
    for name in (
        *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"),
        *("PPM", "JPEG2000", "AVIF", "HEIF"),
    )
    if name in Image.OPEN
]
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw")
HEIC = "a HEIC photograph: `pip install pillow-heif`, start again, or save it as JPEG"
BRANDS = {  # in the first bytes of a file, what it is and what reads it
    b"ftyphei": HEIC,
    b"ftyphev": "a HEIC film or photograph: save it as JPEG",
    b"ftypmif1": HEIC,
    b"ftypavi": "an AVIF picture: Pillow 11.3 or newer reads it, or save it as JPEG",
    b"ftypcrx": "a camera's raw file: save it as JPEG",
    b"ftyp": "a film",
}
TURNS = {  # how a picture is brought upright, by its orientation in EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGEST = 100_000_000  # pixels: more is taken for a decompression bomb
SIZES = range(16, 257)  # pixels a side; the networks pool down to nothing below
SPLIT_WORDS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
SHARE = 0.15  # of each class, for validation and for test where they are not given
THREADS = 2


class Unreadable(Exception):
    """A file is left out; the text says why."""


def slug(name):
    """Return a name in small ASCII letters, digits and hyphens, 60 at most, for files
    and keys.
    """
    decomposed = unicodedata.normalize("NFKD", name)
    plain = (
        re.sub(
            r"[^a-z0-9]+", "-", decomposed.encode("ascii", "ignore").decode().lower()
        ).strip("-")
        or "folder"
    )
    lost = len(plain) > 60 or any(
        letter.isalnum() and not letter.isascii() for letter in decomposed
    )  # other names must not become the same
    digest = sha256(os.fsencode(name))[:6]
    return f"{plain[:53].strip('-')}-{digest}" if lost else plain


def legible(name):
    """Return a file's name as text that can be printed, whatever bytes it holds."""
    return name.encode("utf-8", "replace").decode()


def natural(name):
    """Return a key that sorts names as people do: 2 before 10, small letters with
    capitals.
    """
    parts = re.split(r"(\d+)", unicodedata.normalize("NFC", name).casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def same(name):
    """Return what is common to the spellings of a class: capitals, accents that are
    written in two ways, and spaces around do not tell two classes apart.
    """
    return unicodedata.normalize("NFC", name).casefold().strip()


def split_of(name):
    """Return the split that a folder's name speaks of, or None: train, Test_set,
    seg_train, valdata.
    """
    name = re.sub(r"(?<=[a-z])(set|data|images)(?![a-z])", " ", name.lower())
    said = {SPLIT_WORDS.get(word) for word in re.split(r"[^a-z]+", name)} - {None}
    return said.pop() if len(said) == 1 else None


def listing(folder):
    """Return ([(path, split or None, class)], {path: reason}) of a folder of class
    folders: what may be a picture, and what is not used.

    Split folders may lie above the class folders or in them, and either in folders that
    hold nothing else. Below a class folder all pictures are its own. Spellings of one
    class are joined. Hidden files and links to folders are passed over.
    """
    files, left_out = [], {}

    def walk(here, split=None, kind=None):
        folders, loose = _entries(here, left_out)
        given = _split_folders(folders)
        if kind is not None and "training" not in given.values():
            given = {}
        if not given and kind is not None:
            files.extend((path, split, kind) for path in loose)
            for entry in folders:
                walk(entry, split, kind)
            return
        left_out.update({path: "in no class folder" for path in loose})
        if given:
            for entry in folders:
                if entry in given:
                    walk(entry, split or given[entry], kind)
                else:
                    leave(
                        entry, f"beside {', '.join(sibling.name for sibling in given)}"
                    )
        elif len(folders) == 1 and _entries(folders[0])[0]:  # a wrapper
            walk(folders[0], split)
        else:
            for entry in folders:
                walk(entry, split, legible(entry.name))

    def leave(here, reason):
        folders, loose = _entries(here, left_out)
        left_out.update({path: legible(reason) for path in loose})
        for entry in folders:
            leave(entry, reason)

    walk(folder)
    spelling = {}
    for _, _, kind in sorted(files, key=lambda file: (file[1] != "training", file[2])):
        spelling.setdefault(same(kind), kind)
    return [(path, split, spelling[same(kind)]) for path, split, kind in files], (
        left_out
    )


def _entries(folder, links=None):
    """Return the folders and the files in a folder, sorted, without hidden ones; note
    in `links` the links to folders, and a folder that cannot be opened.
    """
    folders, files = [], []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural(entry.name))
    except OSError as error:
        entries = []
        if links is not None:
            links[folder] = f"cannot be opened: {error.strerror}"
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX", "_collected")):
            continue
        try:
            inside = entry.is_dir()
        except OSError as error:  # such as a link to itself
            if links is not None:
                links[Path(entry)] = f"cannot be opened: {error.strerror}"
            continue
        if not inside:
            files.append(Path(entry))
        elif not entry.is_symlink():
            folders.append(Path(entry))
        elif links is not None:
            links[Path(entry)] = "a link to a folder"
    return folders, files


def _split_folders(folders):
    """Return {folder: split} of those that are split folders, none where "train" is a
    class.

    They are where all folders are called so; else where one for training holds folders,
    and another split, or nothing else with pictures, lies beside it.
    """
    given = {
        folder: split_of(folder.name) for folder in folders if split_of(folder.name)
    }
    if len(given) == len(folders):
        return given
    deep = any(
        split == "training" and _entries(folder)[0] for folder, split in given.items()
    )
    alone = not any(_has_picture(folder) for folder in folders if folder not in given)
    return given if deep and (alone or len({*given.values()}) > 1) else {}


def _has_picture(folder):
    folders, files = _entries(folder)
    endings = Image.registered_extensions()
    return any(path.suffix.lower() in endings for path in files) or any(
        map(_has_picture, folders)
    )


def read_picture(path, size, grey):
    """Return a picture as uint8 (size, size, 1 or 3): upright, its centre square,
    scaled down or up.

    Raises Unreadable with the reason.
    """
    return _fitted(open_picture(path, size, grey), size)


def open_picture(path, size, grey, ground=None):
    """Return a picture, upright, of 8 bits, grey or in colour; a much larger one than
    `size` pixels is decoded smaller.

    path: of a file, or a file that is open. Transparent parts become white, or with a
        ground what `upright` says; of an animation the first picture is taken.
    Raises Unreadable with the reason.
    """
    try:
        if isinstance(path, Path) and path.stat().st_size == 0:
            raise Unreadable("empty")
        if isinstance(path, Path) and path.suffix.lower() in RAW:
            raise Unreadable("a camera's raw file: save it as JPEG")
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > LARGEST:
                raise Unreadable(
                    f"too large: {picture.width:,} × {picture.height:,} pixels"
                )
            return upright(picture, size, grey, ground)
    except (Unreadable, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable(_kind(path)) from None
    except FileNotFoundError:
        raise Unreadable("there is no such file") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"too large: more than {LARGEST:,} pixels") from None
    except Exception as error:  # on damaged files Pillow raises many kinds
        raise Unreadable(f"damaged: {str(error) or type(error).__name__}") from None


def _kind(path):
    """Return why Pillow does not know a file."""
    if isinstance(path, Path):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            head = file.read(12)
            for brand, what in BRANDS.items():
                if head[4:].startswith(brand):
                    return what
    return "not a picture, or damaged"


def upright(picture, size, grey, ground=None):
    """Return an opened picture as `open_picture` does; with a ground, transparent parts
    become what the picture stands out from.
    """
    picture.draft("L" if grey else "RGB", (2 * size, 2 * size))  # JPEG: decoded small
    picture.load()
    smaller = min(picture.size) // (4 * size)
    turn = TURNS.get(picture.getexif().get(0x0112))
    if picture.mode in ("P", "PA", "1"):  # their values cannot be averaged
        smaller, method = smaller // 2, Image.Resampling.NEAREST
    else:
        method = Image.Resampling.BOX
    if smaller > 1:
        if picture.mode.startswith(("P", "1", "I;")):  # `reduce` does not know these
            sides = [side // smaller for side in picture.size]
            picture = picture.resize(sides, method)
        else:
            picture = picture.reduce(smaller)
    if turn is not None:
        picture = picture.transpose(turn)
    return _plain(picture, ground).convert("L" if grey else "RGB")


def _plain(picture, ground=None):
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
        picture, fill = picture.convert("RGBA"), "white"
        if ground is not None:
            opaque = np.asarray(picture.getchannel("A")) > 127
            seen = np.asarray(picture.convert("RGB").convert("L"))[opaque]
            fill = "black" if len(seen) and seen.mean() > 127 else "white"
        return Image.alpha_composite(Image.new("RGBA", picture.size, fill), picture)
    return picture


def read_folder(folder, size, grey, classes=None):
    """Read a folder of class folders.

    size: height and width of the images; grey: one channel instead of three.
    classes: class names in their order, or None for all, sorted.
    Returns (classes, images, labels, split of each image or None, files, {file: reason
    left out}, [(class, reason)] of the files of class folders that are left out).
    Raises LabError where no picture can be read, none is there to train on, and where a
    class is not in the folder for training.
    """
    if not isinstance(size, int) or size not in SIZES:
        raise LabError(
            f"IMAGE_SIZE is {size!r}: set it to a whole number from {SIZES[0]} to"
            f" {SIZES[-1]}."
        )
    files, left_out = listing(folder)
    if classes is None:
        names = sorted({kind for _, _, kind in files}, key=natural)
    else:
        names = list(classes)
        spelling = {same(name): name for name in names}
        left_out |= {
            path: f"the class {kind} is not one of {', '.join(names)}"
            for path, _, kind in files
            if same(kind) not in spelling
        }
        files = [
            (path, split, spelling[same(kind)])
            for path, split, kind in files
            if same(kind) in spelling
        ]
    _check_splits(folder, files)
    images = np.empty((len(files), size, size, 1 if grey else 3), np.uint8)
    kept, refused, line, begin = [], [], Line(), time.monotonic()

    def read(i):
        try:
            images[i] = read_picture(files[i][0], size, grey)
        except Unreadable as reason:
            return str(reason)

    with ThreadPoolExecutor(THREADS) as pool:
        for i, reason in enumerate(pool.map(read, range(len(files)))):
            if reason:
                left_out[files[i][0]] = reason
                refused.append((files[i][2], reason))
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
            f"No picture can be read in {legible(str(folder))}: {_found(left_out)}. It"
            " must hold a folder for each class, with pictures in them (such as jpg,"
            " png or webp)."
        )
    labels = np.array([names.index(kind) for _, _, kind in kept], np.int64)
    return (
        names,
        images[: len(kept)],
        labels,
        [split for _, split, _ in kept],
        [path for path, _, _ in kept],
        left_out,
        refused,
    )


def _found(left_out):
    """Return in words what lies in a folder without one picture."""
    if not left_out:
        return "it is empty"
    reason, count = Counter(left_out.values()).most_common(1)[0]
    first = next(path for path, why in left_out.items() if why == reason)
    return (
        f"{count} of its {len(left_out)} files are left out, such as"
        f" {legible(first.parent.name)}/{legible(first.name)}: {reason}"
    )


def _check_splits(folder, files):
    """Raise LabError where split folders hold none to train on, or classes that the one
    for training has not.
    """
    kinds = {split: {k for _, s, k in files if s == split} for _, split, _ in files}
    if set(kinds) <= {None} or not files:
        return
    training = kinds.pop("training", set()) | kinds.pop(None, set())
    if not training:
        raise LabError(
            f"{legible(str(folder))} has pictures for {' and '.join(sorted(kinds))} and"
            " none to train on: add a folder train, or give the path of the folder"
            " that holds the class folders."
        )
    for split, there in kinds.items():
        if strange := sorted(there - training, key=natural):
            raise LabError(
                f"In {legible(str(folder))} the {split} folder has classes that the one"
                f" for training has not: {', '.join(strange[:5])}; that one has"
                f" {', '.join(sorted(training, key=natural)[:10])}. Give the class"
                " folders of all splits the same names."
            )


def divide(images, labels, given, classes, refused=()):
    """Return the split of each image, or None for one to leave out.

    given: the split that the folders say, or None, for each image. What is not given is
        drawn from the rest, stratified by class. Images with the same pixels never
        stand in two splits: where none is given they go together; else a copy gives way
        to the one in test, then in validation.
    refused: (class, reason) of the files that were left out.

    Raises LabError where there are fewer than two classes, or a class has fewer than
    three different images, or none to train on.
    """
    keys = [sha256(image.tobytes()) for image in images]
    order = ("test", "validation", "training", None)
    splits, class_of, why = {}, {}, Counter(refused)
    for key, split, label in zip(keys, given, labels):
        splits[key] = min(split, splits.get(key), key=order.index)
        if class_of.setdefault(key, label) != label:
            other = classes[class_of[key]]
            why[classes[label], f"the same pixels as an image of {other}"] += 1
    if len(classes) < 2:
        raise LabError(
            f"There is one class only ({', '.join(classes)}): two are needed, each a"
            " folder of pictures."
        )
    counts = np.bincount(list(class_of.values()), minlength=len(classes))
    if counts.min() < 3:
        few = []
        for i in np.flatnonzero(counts < 3):
            reasons = Counter({r: n for (k, r), n in why.items() if k == classes[i]})
            said = "".join(f"; {n} × {r}" for r, n in reasons.most_common(1))
            few.append(f"{classes[i]} ({counts[i]}{said})")
        more = f", and {len(few) - 10} more" if len(few) > 10 else ""
        raise LabError(
            "Each class needs three different readable images at least; these have"
            f" fewer: {', '.join(few[:10])}{more}."
        )
    rng = np.random.default_rng(0)
    missing = [split for split in ("validation", "test") if split not in given]
    for label in range(len(classes)):
        free = [
            key
            for key, split in splits.items()
            if split in ("training", None) and class_of[key] == label
        ]
        if len(free) <= len(missing):
            raise LabError(
                f"The class {classes[label]} has too few images to train on."
            )
        drawn, count = rng.permutation(len(free)), max(1, round(SHARE * len(free)))
        splits |= {free[i]: "training" for i in drawn}
        for k, split in enumerate(missing):
            splits |= {free[i]: split for i in drawn[k * count : (k + 1) * count]}
    drawn_too = {"training", None} | set(missing)
    return [
        (
            splits[key]
            if splits[key] == split
            or (split in (None, "training") and splits[key] in drawn_too)
            else None
        )
        for key, split in zip(keys, given)
    ]


def pictures(source, shape, ground=None):
    """Return (names, uint8 images of `shape`, what was done to each, in words) of
    pictures.

    source: the path of a file or of a folder, a picture of Pillow, an array, uint8 (n,
        height, width, 1 or 3) or one image of it, or a list of these.
    ground: what the training images stand on, see `world.ground`: a picture is brought
        onto it by `world.suited`, and images of `shape` are inverted at most.
    Raises LabError for anything else, and where no picture can be read; of a list, what
    cannot be used is named and left out.
    """
    height, width, channels = shape
    grey = channels == 1
    if isinstance(source, (list, tuple)):
        parts, faults = [], [LabError("The list of pictures is empty.")]
        for item in source:
            try:
                parts.append(pictures(item, shape, ground))
            except LabError as fault:
                faults.append(fault)
        if not parts:
            raise faults[-1]
        for fault in faults[1:]:
            print(fault)
        names = [name for some, _, _ in parts for name in some]
        if len(set(names)) < len(names):
            names = list(range(len(names)))
        done = [words for _, _, some in parts for words in some]
        return names, np.concatenate([images for _, images, _ in parts]), done
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
        names = list(range(len(images)))
        if images.shape[1:] == tuple(shape):
            images, turned = world.brought(images, ground)
            return names, images, [["inverted"] * bool(flag) for flag in turned]
        opened = [
            Image.fromarray(image.squeeze(axis=-1) if image.shape[-1] == 1 else image)
            for image in images
        ]
    elif isinstance(source, Image.Image):
        try:
            few = height if ground is None else 4 * height
            opened = [upright(source.copy(), few, grey, ground)]
        except (OSError, SyntaxError, ValueError) as error:
            raise LabError(f"The picture is damaged: {error}.") from None
        names = [0]
    else:
        names, opened = _read_files(source, height, grey, ground)
    opened = [picture.convert("L" if grey else "RGB") for picture in opened]
    exact = [picture.size == (width, height) for picture in opened]
    opened, done = zip(
        *[
            world.suited(picture, ground, cut=not same)
            for picture, same in zip(opened, exact)
        ]
    )
    return (
        names,
        np.stack([_fitted(picture, height) for picture in opened]),
        list(done),
    )


def _fitted(picture, size):
    """Return the centre square of a picture, scaled, as uint8 (size, size, 1 or 3)."""
    picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(size, size, -1)


def _read_files(source, size, grey, ground):
    """Return (names, opened pictures) of a file or of a folder, and print what is left
    out. They are opened a little larger where they may be cut.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise LabError(
            f"{type(source).__name__} is no picture: give the path of a file or of a"
            " folder, a picture of Pillow, an array, or a list of these."
        )
    if re.match(r"(?i)[a-z]{2,}:/", str(source)):
        raise LabError(
            f"{source} is an address: download the picture, and give the path of the"
            " file."
        )
    path = located(source)
    if path is None:
        raise LabError(
            f"No picture can be read in {legible(str(source))}: there is no such file"
            " or folder, seen from where this runs or from the repository."
        )
    files = (
        sorted(
            (
                entry
                for entry in path.rglob("*")
                if entry.is_file() and not entry.name.startswith(".")
            ),
            key=lambda entry: natural(str(entry)),
        )
        if path.is_dir()
        else [path]
    )
    names, images = [], []
    for file in files:
        try:
            few = size if ground is None else 4 * size
            images.append(open_picture(file, few, grey, ground))
            names.append(file.name if file == path else str(file.relative_to(path)))
        except Unreadable as reason:
            told = f"{legible(str(file))} is left out: {reason}"
            if file == path:
                raise LabError(f"{told}.") from None
            print(told)
    if not images:
        raise LabError(
            f"No picture can be read in {legible(str(path))}: give a picture"
            " file, a folder of pictures or an array."
        )
    return names, images

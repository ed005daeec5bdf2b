"""Data sets: images, labels, class names, and three splits that never overlap."""
import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .downloads import fetch
from .files import ROOT, LabError, sha256, writing

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Dataset:
    """A data set. `images` is None where its files cannot be had here: see `available`.

    shape: height, width and channels of an image.
    sha256, split_sha256: of the images and labels, and of the splits.
    read: the function that returns all images and labels; recipe: what to do where it cannot.
    images: uint8 (n, height, width, channels), training file first, in the official order.
    labels: int64 (n,), positions in `classes`.
    splits: the positions of the images of each split, ascending.
    """

    name: str
    title: str
    classes: tuple
    shape: tuple
    sha256: str
    split_sha256: str
    read: object = None
    recipe: str = ""
    images: np.ndarray = None
    labels: np.ndarray = None
    splits: dict = None

    @property
    def available(self):
        """Whether the images are here. Without them, finished runs can still be read."""
        return self.images is not None

    def split(self, name):
        """Return (images, labels) of "training", "validation" or "test"."""
        if not self.available:
            raise LabError(f"The images of {self.title} are not here.\n{self.recipe}")
        chosen = self.splits[name]
        return self.images[chosen], self.labels[chosen]


def load(name):
    """Return the data set called `name`: "digits" or "fashion_mnist".

    The files are looked for in the folder that the environment variable LAB_DATA names, else
    in data/raw/, else they are downloaded. Where that fails, the reason and a recipe are
    printed, and the data set comes without its images. Introduced in notebook 01.

    Raises LabError for an unknown name, or for files that hold something else.
    """
    if name not in KNOWN:
        raise LabError(f"There is no data set called {name!r}: choose among {', '.join(KNOWN)}.")
    known = KNOWN[name]
    try:
        images, labels = known.read()
    except MissingFiles as missing:
        print(f"{known.title} is skipped: {missing}\n{known.recipe}")
        return known
    if content_hash(images, labels) != known.sha256:
        raise LabError(f"The files of {known.title} do not hold the official images and labels: "
                       "delete them and run again.")
    return replace(known, images=images, labels=labels, splits=read_splits(known))


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

    They were drawn once by `stratified` and are stored, so that no version of any library
    can move an image from one split to another.
    """
    path = ROOT / "data" / "splits" / f"{known.name}.npz"
    try:
        with np.load(path) as stored:
            splits = {name: stored[name].astype(np.int64) for name in SPLITS}
    except (OSError, KeyError, ValueError):
        splits = None
    if splits is None or split_hash(splits) != known.split_sha256:
        raise LabError(f"data/splits/{known.name}.npz is missing or altered: "
                       f"git checkout data/splits/{known.name}.npz")
    return splits


def stratified(labels, fraction, seed):
    """Return the positions of `fraction` of each class, drawn at random, ascending."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return np.sort(np.concatenate([one[: round(fraction * len(one))] for one in drawn]))


def read_digits():
    """Read scikit-learn's 1,797 scanned digits: 0-16 grey levels to 0-255, 8x8 to 16x16."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    return images.repeat(2, axis=1).repeat(2, axis=2), labels.astype(np.int64)


FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION_MNIST_SOURCES = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def read_fashion_mnist():
    """Read Fashion-MNIST's four idx files, the 60,000 training images first."""
    folder = Path(os.environ.get("LAB_DATA") or ROOT / "data" / "raw")
    if not (folder / next(iter(FASHION_MNIST_FILES))).exists():
        folder = folder / "fashion-mnist"
    arrays = []
    for name, digest in FASHION_MNIST_FILES.items():
        path = folder / name
        if not path.exists():
            try:
                fetch(path, [source + name for source in FASHION_MNIST_SOURCES], digest)
            except LabError as error:
                raise MissingFiles(f"{name} is not there and cannot be downloaded ({error})") from None
        if sha256(path) != digest:
            raise LabError(f"{path.name} is damaged or not the published file: delete it and run again.")
        offset, shape = (16, (-1, 28, 28, 1)) if "images" in name else (8, (-1,))
        arrays.append(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset).reshape(shape))
    training, training_labels, test, test_labels = arrays
    return np.concatenate([training, test]), np.concatenate([training_labels, test_labels]).astype(np.int64)


KNOWN = {known.name: known for known in (
    Dataset(
        name="digits", title="Digits", classes=tuple("0123456789"), shape=(16, 16, 1),
        sha256="a411e57b634c4823e282acff03b7fec7e709d8e44f841eed749655efca946c1e",
        split_sha256="0dac2ee7549dc4bdd1c66cf57a5e8a07692d8b1ee62dbfd6400fffcd68457ef7",
        read=read_digits,
    ),
    Dataset(
        name="fashion_mnist", title="Fashion-MNIST", shape=(28, 28, 1),
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                 "Bag", "Ankle boot"),
        sha256="6d50a1a20a1c66118589aaac178683e0e4e77258d59256ba5f644f4dde9f09b4",
        split_sha256="99dff6e885aa05d596df8dbb7fac77d09db5499e74e538111bc561f031651ed5",
        read=read_fashion_mnist,
        recipe="1. Download the four files ending in -ubyte.gz from "
               "https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion\n"
               "2. Put them in data/raw/fashion-mnist/ (or in a folder that LAB_DATA names).\n"
               "3. Run the notebook again.",
    ),
)}

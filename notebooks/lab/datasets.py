"""Data sets: images, labels, class names, and three splits that never overlap."""
import json
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from . import photos, sources
from .files import ROOT, LabError, relative, sha256, write, writing

SPLITS = ("training", "validation", "test")
CACHE = ROOT / "data" / "cache"


@dataclass(frozen=True)
class Dataset:
    """A data set. `images` is None where its files cannot be had here: see `available`.

    shape: height, width and channels of an image.
    sha256, split_sha256: of the images and labels, and of the splits.
    source: the function of `lab.sources` that finds its files; recipe: what to do where it cannot.
    images: uint8 (n, height, width, channels), in the official order, training first.
    labels: int64 (n,), positions in `classes`.
    splits: the positions of the images of each split, ascending.
    division: who drew the splits; left_out: a DataFrame of files that were not used, with reasons.
    """

    name: str
    title: str
    classes: tuple
    shape: tuple
    sha256: str
    split_sha256: str
    source: object = None
    recipe: str = ""
    images: np.ndarray = None
    labels: np.ndarray = None
    splits: dict = None
    division: str = "the positions stored in data/splits"
    left_out: pd.DataFrame = None
    _parts: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def available(self):
        """Whether the images are here. Without them, finished runs can still be read."""
        return self.images is not None

    def split(self, name):
        """Return (images, labels) of "training", "validation" or "test"; they are shared, and cannot be written to.

        A split that lies in one piece is not copied, another one once.
        """
        if not self.available:
            raise LabError(f"The images of {self.title} are not here.\n{self.recipe}")
        if name not in self._parts:
            chosen = self.splits[name]
            if len(chosen) and len(chosen) == chosen[-1] - chosen[0] + 1:
                chosen = slice(chosen[0], chosen[-1] + 1)
            self._parts[name] = self.images[chosen], self.labels[chosen]
            for part in self._parts[name]:
                part.flags.writeable = False
        return self._parts[name]

    def subset(self, classes):
        """Return the data set with these classes alone, in this order, under a name of its own."""
        unknown = [name for name in classes if name not in self.classes]
        if unknown or len(set(classes)) < max(2, len(classes)):
            raise LabError(f"CLASSES needs two different classes or more of {self.title}, which has: {', '.join(self.classes)}"
                           + (f"; it has no {', '.join(unknown)}." if unknown else "."))
        name = f"{self.name}-{photos.slug(' '.join(classes))}"
        renamed = replace(self, name=name, title=f"{self.title} ({len(classes)} classes)", classes=tuple(classes))
        if not self.available:
            return renamed
        places = np.full(len(self.classes), -1)
        places[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        kept = np.flatnonzero(places[self.labels] >= 0)
        splits = {name: np.searchsorted(kept, np.intersect1d(kept, chosen)) for name, chosen in self.splits.items()}
        return _filled(renamed, self.images[kept], places[self.labels[kept]], splits)


def load(name, classes=None, image_size=64, grey=False):
    """Return a data set: one of `KNOWN`, or a folder of class folders of pictures.

    name: "digits", "fashion_mnist", "cifar10", "fer2013", "fer2013_jpeg", or the path of a folder.
    classes: the classes to keep, in this order; None keeps all.
    image_size, grey: height and width in pixels, and one channel instead of three, of a folder's images.

    The files of a known data set are looked for in the folder that the environment variable
    LAB_DATA names, else in data/raw/, else they are downloaded; what was decoded is kept in
    data/cache/. Where that fails, the reasons and a recipe are printed, and the data set comes
    without its images. Introduced in notebook 01.

    Raises LabError for an unknown name, and for a folder that cannot be used.
    """
    name = str(name)
    if name in KNOWN:
        dataset = _known(KNOWN[name])
    elif name == JPEG or "/" in name or "\\" in name or _place(name):
        dataset = _folder(name, image_size, grey)
    else:
        raise LabError(f"There is no data set called {name!r}: choose among {', '.join(KNOWN)}, or give the path of a "
                       "folder that holds a folder of pictures for each class, such as photos/.")
    return dataset if classes is None else dataset.subset(classes)


def _known(known):
    """Return a known data set with its images, from the cache, the files or the network."""
    folder = CACHE / known.name
    found = _cached(folder, known.sha256)
    if found is None:
        try:
            found = _official(known)
        except MissingFiles as missing:
            if known.name == "fer2013" and sources.fer2013_jpeg():
                print("FER2013 is here as JPEG files, in which no pixel is that of fer2013.csv: it is used as a data "
                      "set of its own, fer2013_jpeg.")
                return _folder(JPEG, *known.shape[:2])
            print(f"{known.title} is skipped: {missing}\n{known.recipe}")
            return known
        if known.name != "digits":
            _store(folder, *found)
            found = _cached(folder, known.sha256) or found
    return replace(known, images=found[0], labels=found[1], splits=read_splits(known))


def _official(known):
    """Return the images and labels of the first files that hold the published content."""
    reasons = []
    try:
        for where, read in known.source():
            try:
                images, labels = read()
                if content_hash(images, labels) == known.sha256:
                    return images, labels
                reasons.append(f"{where} holds other images or labels than the published ones")
            except sources.Elsewhere:
                pass
            except (LabError, ValueError, OSError, EOFError, IndexError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
                reasons.append(f"{where} cannot be used: {error}")
    except LabError as error:
        reasons.append(f"it cannot be downloaded ({error})")
    raise MissingFiles("; ".join(reasons) or f"its files are not in {relative(sources.raw())}.")


def _place(name):
    """Return the folder called `name`, seen from here, from the repository, or from the raw folder; or None."""
    tops = (Path(), ROOT, sources.raw()) if name else ()
    return next((top / name for top in tops if (top / name).is_dir()), None)


def _folder(name, size, grey):
    """Return the data set that a folder of class folders makes."""
    if name == JPEG:
        official = KNOWN["fer2013"]
        path, size, grey, title, classes = sources.fer2013_jpeg(), 48, True, "FER2013 (JPEG)", official.classes
    else:
        path = _place(name)
        title, classes = path and path.resolve().name, None
    if path is None:
        raise LabError(f"There is no folder {name}: give the path of a folder that holds a folder of pictures for each "
                       "class.")
    plain = JPEG if name == JPEG else photos.slug(title)
    plain = f"my-{plain}" if name != JPEG and plain in (*KNOWN, JPEG) else plain
    files, _ = photos.listing(path)
    facts = [(relative(file), file.stat().st_size, file.stat().st_mtime_ns) for file, _, _ in files if file.exists()]
    kind = f"{plain}-{size}-{'grey' if grey else 'rgb'}"
    cache = CACHE / f"{kind}-{sha256(Path(photos.__file__), json.dumps([facts, size, grey, classes]))[:12]}"
    try:
        about = json.loads((cache / "about.json").read_text())
        with np.load(cache / "splits.npz") as stored:
            splits = {split: stored[split] for split in SPLITS}
        found = _cached(cache, about["sha256"])
    except (OSError, ValueError, KeyError):
        found = None
    if found is None:
        found, about, splits = _read_folder(path, size, grey, classes)
        for old in CACHE.glob(f"{kind}-????????????"):  # of what the folder held before
            shutil.rmtree(old, ignore_errors=True)
        _store(cache, *found, splits, about)
    left_out = pd.DataFrame(about["left_out"], columns=["file", "reason"])
    print(f"{title}: {len(found[0]):,} images; splits: {about['division']}; {len(left_out)} files left out.")
    blank = Dataset(plain, title, tuple(about["classes"]), found[0].shape[1:], "", "", division=about["division"],
                    left_out=left_out)
    return _filled(blank, *found, splits)


def _read_folder(path, size, grey, classes):
    """Return (images, labels), what to remember beside them, and the splits of a folder."""
    names, images, labels, given, files, left_out = photos.read_folder(path, size, grey, classes)
    prefixes = [file.name.split("_")[0] for file in files]
    if classes and set(prefixes) == set(FER2013_PREFIXES):
        given, division = [FER2013_PREFIXES[prefix] for prefix in prefixes], "the official ones, from the file names"
    elif any(given):
        drawn = [split for split in SPLITS if split not in given]
        division = "those of the folders" + (f", with {' and '.join(drawn)} drawn from training" if drawn else "")
    else:
        division = f"drawn, {1 - 2 * photos.SHARE:.0%} / {photos.SHARE:.0%} / {photos.SHARE:.0%} of each class"
    split = np.array(photos.divide(images, labels, given, names), dtype=object)
    kept = np.flatnonzero(split != None)  # noqa: E711 (of each element)
    left_out |= {files[i]: "the same pixels as an image of another split" for i in np.flatnonzero(split == None)}  # noqa: E711
    about = {"classes": names, "division": division, "sha256": content_hash(images[kept], labels[kept]),
             "left_out": sorted((photos.legible(file.relative_to(path).as_posix()), reason) for file, reason in left_out.items())}
    return (images[kept], labels[kept]), about, {name: np.flatnonzero(split[kept] == name) for name in SPLITS}


def _filled(dataset, images, labels, splits):
    """Return the data set with these images, and the hashes of what it holds now."""
    return replace(dataset, images=images, labels=labels, splits=splits, sha256=content_hash(images, labels),
                   split_sha256=split_hash(splits))


def _cached(folder, digest):
    """Return the images, mapped into memory, and labels stored in a folder, if their hash is `digest`."""
    try:
        images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
        return (images, labels) if content_hash(images, labels) == digest else None
    except (OSError, ValueError, EOFError):
        return None


def _store(folder, images, labels, splits=None, about=None):
    """Keep what was decoded, so that it need not be decoded again; where that cannot be written, say so."""
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


def digits():
    """Yield scikit-learn's 1,797 scanned digits: 0-16 grey levels to 0-255, 8x8 to 16x16."""
    def read():
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        images = np.round(pixels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
        return images.repeat(2, axis=1).repeat(2, axis=2), labels.astype(np.int64)

    yield "scikit-learn", read



JPEG = "fer2013_jpeg"
FER2013_PREFIXES = {"Training": "training", "PublicTest": "validation", "PrivateTest": "test"}
AGAIN = "3. Run the notebook again."
KNOWN = {known.name: known for known in (
    Dataset(
        name="digits", title="Digits", classes=tuple("0123456789"), shape=(16, 16, 1),
        sha256="a411e57b634c4823e282acff03b7fec7e709d8e44f841eed749655efca946c1e",
        split_sha256="0dac2ee7549dc4bdd1c66cf57a5e8a07692d8b1ee62dbfd6400fffcd68457ef7",
        source=digits,
    ),
    Dataset(
        name="fashion_mnist", title="Fashion-MNIST", shape=(28, 28, 1),
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                 "Bag", "Ankle boot"),
        sha256="6d50a1a20a1c66118589aaac178683e0e4e77258d59256ba5f644f4dde9f09b4",
        split_sha256="99dff6e885aa05d596df8dbb7fac77d09db5499e74e538111bc561f031651ed5",
        source=sources.fashion_mnist,
        recipe="1. Download the four files ending in -ubyte.gz from "
               "https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion\n"
               f"2. Put them in data/raw/fashion-mnist/ (or in a folder that LAB_DATA names).\n{AGAIN}",
    ),
    Dataset(
        name="cifar10", title="CIFAR-10", shape=(32, 32, 3),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        sha256="b16dd405789d423f76919f61e103c3199c7b2dd0c7da8b27d752a9ab9c80dba9",
        split_sha256="dc8eb4cb18c881f7a6e001b2c318515f7867b2d0860275468f458d0d23abe062",
        source=sources.cifar10,
        recipe="1. Download cifar-10-python.tar.gz (or -binary) from https://www.cs.toronto.edu/~kriz/cifar.html\n"
               f"2. Put it in data/raw/ (or in a folder that LAB_DATA names), packed or unpacked.\n{AGAIN}",
    ),
    Dataset(
        name="fer2013", title="FER2013", shape=(48, 48, 1),
        classes=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        sha256="dfa10f704ce43176926fa4a1d4ae1249caa95437f8022664b01859e189e13400",
        split_sha256="3bfd8d9aabd79a36eed4aa10c2b726ffabfac4e51fff64f7abb906a92a643be3",
        source=sources.fer2013, division="the official ones: Training, PublicTest, PrivateTest",
        recipe="1. With a free Kaggle account, download https://www.kaggle.com/datasets/deadskull7/fer2013\n"
               f"2. Put fer2013.csv, or the archive, in data/raw/ (or in a folder that LAB_DATA names).\n{AGAIN}",
    ),
)}

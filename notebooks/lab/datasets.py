"""Data sets: images, labels, class names, and three splits that never overlap."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from .plumbing import catalogue, photos, reading, sources, world
from .plumbing.files import LabError


@dataclass(frozen=True)
class Dataset:
    """A data set. `images` is None where its files cannot be had here: see `available`.

    shape: height, width and channels of an image.
    sha256, split_sha256: of the images and labels, and of the splits.
    source: the function that finds its files; advice: what to do where it cannot.
    images: uint8 (n, height, width, channels), in the published order; of a folder, in
        that of its files.
    labels: int64 (n,), positions in `classes`.
    splits: {split: positions of its images, ascending}.
    ground: what the training images stand on: 0, 255 or None, see `world.ground`.
    left_out: a DataFrame of files that were not used, with reasons.
    """

    name: str
    title: str
    classes: tuple
    shape: tuple
    sha256: str
    split_sha256: str
    source: object = None
    advice: str = ""
    ground: int = None
    images: np.ndarray = None
    labels: np.ndarray = None
    splits: dict = None
    left_out: pd.DataFrame = None
    _parts: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def available(self) -> bool:
        """Whether the images are here. Without, runs on all classes can be read."""
        return self.images is not None

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (images, labels) of "training", "validation" or "test", read-only.

        Only scattered images are copied, once. Raises LabError where there are none.
        """
        if not self.available:
            raise LabError(f"The images of {self.title} are not here.\n{self.advice}")
        if name not in self._parts:
            positions = self.splits[name]
            if len(positions) and len(positions) == positions[-1] - positions[0] + 1:
                positions = slice(positions[0], positions[-1] + 1)
            self._parts[name] = self.images[positions], self.labels[positions]
            for part in self._parts[name]:
                part.flags.writeable = False
        return self._parts[name]

    def filled(self, images, labels, splits):
        """Return the data set with these images, and the hashes of what it holds."""
        return replace(
            self,
            images=images,
            labels=labels,
            splits=splits,
            sha256=reading.content_hash(images, labels),
            split_sha256=reading.split_hash(splits),
        )

    def subset(self, classes: list[str]) -> Dataset:
        """Return it with these classes in this order; LabError for unknown ones."""
        unknown = [name for name in classes if name not in self.classes]
        if unknown or len(set(classes)) < max(2, len(classes)):
            raise LabError(
                f"CLASSES needs two different classes or more of {self.title}, which"
                f" has: {', '.join(self.classes)}"
                + (f"; it has no {', '.join(unknown)}." if unknown else ".")
            )
        renamed = replace(
            self,
            name=f"{self.name}-{photos.slug(' '.join(classes))}",
            title=f"{self.title} ({len(classes)} classes)",
            classes=tuple(classes),
        )
        if not self.available:
            return renamed
        wanted = [self.classes.index(name) for name in classes]
        kept, labels, splits = reading.of_classes(wanted, self.labels, self.splits)
        return renamed.filled(self.images[kept], labels, splits)


KNOWN = {facts["name"]: Dataset(**facts) for facts in catalogue.FACTS}


def load(
    name: str,
    classes: list[str] | None = None,
    image_size: int = 64,
    grey: bool = False,
) -> Dataset:
    """Return a data set: one of `KNOWN`, or a folder of class folders of pictures.

    name: "digits", "fashion_mnist", "cifar10", "fer2013", "fer2013_jpeg", or the path
        of a folder.
    classes: the classes to keep, in this order; None keeps all.
    image_size, grey: height and width in pixels, and one channel instead of three, of a
        folder's images.

    The files of a known data set are looked for in data/raw/ or the folder LAB_DATA,
    among the inputs of a Kaggle notebook, and in the folder of Keras; else they are
    downloaded. What was decoded is kept in data/cache/. Where that fails, the reasons
    and advice are printed, and the data set comes without its images. Introduced in
    notebook 01.

    Raises LabError for an unknown name or class, and a folder that cannot be used.
    """
    name = str(name)
    if name in KNOWN:
        dataset = _known(KNOWN[name])
    elif name == reading.JPEG or "/" in name or "\\" in name or reading.place(name):
        dataset = _folder(name, image_size, grey)
    else:
        raise LabError(
            f"There is no data set called {name!r}: choose among {', '.join(KNOWN)}, or"
            " give the path of a folder that holds a folder of pictures for each"
            " class, such as photos/."
        )
    return dataset if classes is None else dataset.subset(classes)


def _known(known):
    """Return a known data set with its images, where they can be had."""
    try:
        images, labels = reading.official(known)
    except reading.MissingFiles as missing:
        if known.name == "fer2013" and sources.fer2013_jpeg():
            print(
                "FER2013 is here as JPEG files, in which no pixel is that of"
                " fer2013.csv: it is used as a data set of its own, fer2013_jpeg."
            )
            return _folder(reading.JPEG, size=48, grey=True)
        print(f"{known.title} is skipped: {missing}\n{known.advice}")
        return known
    splits = reading.read_splits(known)
    return replace(known, images=images, labels=labels, splits=splits)


def _folder(name, size, grey):
    """Return the data set that a folder of class folders makes."""
    official = KNOWN["fer2013"].classes if name == reading.JPEG else None
    plain, title, content, about = reading.folder(name, size, grey, official, KNOWN)
    images, labels, splits = content
    left_out = pd.DataFrame(about["left_out"], columns=["file", "reason"])
    print(
        f"{title}: {len(images):,} images; splits: {about['division']};"
        f" {len(left_out)} files left out."
    )
    classes, shape = tuple(about["classes"]), images.shape[1:]
    blank = Dataset(plain, title, classes, shape, "", "", left_out=left_out)
    ground = world.ground(images[splits["training"]])
    return replace(blank.filled(images, labels, splits), ground=ground)

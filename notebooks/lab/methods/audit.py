"""What is wrong with a data set: copies, near copies, blank images, doubtful labels."""

from itertools import chain

import numpy as np
import pandas as pd

from ..plumbing import sources
from ..plumbing.files import LabError, relative
from ..taught import blank, copied, groups, unit

NEAR = 0.97  # the correlation of near copies
FER_PLUS = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "neutral",
    "contempt",
    "unknown",
    "NF",
)
# The class of FER2013: its column in FER+.
SAME = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
}
FER_PLUS_ADVICE = (
    "The FER+ votes are not here: download"
    " https://github.com/microsoft/FERPlus/blob/master/fer2013new.csv (MIT licence, 1.6"
    " MB) into data/raw/."
)


def leaked(dataset, split="test", among=("training",)):
    """Return (images of the split,) bool: whether the image has exactly the pixels of
    one in the splits `among`.
    """
    seen = chain.from_iterable(dataset.split(name)[0] for name in among)
    return copied(dataset.split(split)[0], seen)


def condemned(dataset, positions):
    """Return (positions,) bool: images that a careful training leaves out, among those
    at `positions`.

    They are blank images, images with the pixels of an image that is not among
    `positions` (of validation or test), images that stand there more than once with
    different labels, and every copy but the first of the others.
    """
    group = groups(dataset.images)
    inside = np.zeros(len(group), bool)
    inside[positions] = True
    here, labels = group[positions], dataset.labels[positions]
    outside = np.isin(here, group[~inside])
    conflicting = (pd.Series(labels).groupby(here).transform("nunique") > 1).to_numpy()
    again = pd.Series(here).duplicated().to_numpy()
    return outside | conflicting | again | np.isin(positions, blank(dataset.images))


def near_copies(dataset):
    """Return pairs of a test image and the training image it resembles most, where that
    is `NEAR` or more.

    Resemblance is the correlation of the pixels, mean removed, so brightness and
    contrast do not count. Candidates are found on the images reduced to 8 x 8 by
    averaging, then compared in full.
    Returns a DataFrame with columns test, training (positions in their splits) and
    correlation, the highest first, without exact copies.
    """
    training, test = (dataset.split(name)[0] for name in ("training", "test"))
    small_training, small_test = unit(_small(training)), unit(_small(test))
    rows = []
    for begin in range(0, len(test), 500):
        scores = small_test[begin : begin + 500] @ small_training.T
        for i, row in enumerate(scores, start=begin):
            if row.max() >= NEAR:
                candidates = np.argsort(-row)[:5]
                full = unit(training[candidates]) @ unit(test[i : i + 1])[0]
                j = candidates[full.argmax()]
                if full.max() >= NEAR and not np.array_equal(training[j], test[i]):
                    rows.append((i, j, float(full.max())))
    return pd.DataFrame(rows, columns=["test", "training", "correlation"]).sort_values(
        "correlation", ascending=False, kind="stable", ignore_index=True
    )


def _small(images):
    """Return (n, 8, 8, channels): the means of the fields into which 8 x 8 divides each
    image.
    """
    _, height, width, _ = images.shape
    rows, columns = (
        np.linspace(0, length, 9).astype(int)[:-1] for length in (height, width)
    )
    sums = np.add.reduceat(
        np.add.reduceat(images, rows, axis=1, dtype=np.float32), columns, axis=2
    )
    return (
        sums
        / np.outer(np.diff([*rows, height]), np.diff([*columns, width]))[:, :, None]
    )


def fer_plus():
    """Return the votes of FER+ as (35,887, 10) integers, row by row beside FER2013, or
    None.

    Columns are `FER_PLUS`. They are read from fer2013new.csv, see `sources.found`;
    where it is not there, the way to get it is printed. Source: Barsoum et al. (2016),
    arXiv 1608.01041.
    Raises LabError for a file that holds something else.
    """
    for path in sources.found("fer2013new.csv"):
        try:
            votes = pd.read_csv(path)[list(FER_PLUS)].to_numpy()
        except (KeyError, ValueError) as error:
            raise LabError(
                f"{relative(path)} cannot be read as FER+ votes ({error}): download it"
                " anew, see data/README.md."
            ) from None
        if (
            votes.shape != (35887, 10)
            or not np.issubdtype(votes.dtype, np.integer)
            or votes.sum(axis=1).max() > 10
        ):
            raise LabError(
                f"{relative(path)} does not hold the ten votes on each of FER2013's"
                " 35,887 images: download it anew, see data/README.md."
            )
        return votes
    print(FER_PLUS_ADVICE)
    return None


def agrees(votes, labels, classes):
    """Return (n,) bool: whether the label is the most frequent of the ten votes, alone
    or with others.

    votes: (n, 10) of `fer_plus`; labels: (n,) positions in `classes`, FER2013's names.
    """
    columns = np.array([FER_PLUS.index(SAME[name]) for name in classes])
    return votes[np.arange(len(labels)), columns[labels]] == votes.max(axis=1)


def majority(votes, classes):
    """Return (n,) positions in `classes`: what more than half of ten annotators say, -1
    where that is none of them.
    """
    columns = [FER_PLUS.index(SAME[name]) for name in classes]
    return np.where(
        votes[:, columns].max(axis=1) > 5, votes[:, columns].argmax(axis=1), -1
    )

"""A trained network on anybody's pictures."""

import os

import numpy as np
import pandas as pd

from . import datasets
from . import drawing as figures
from .engine import trained
from .methods.statistics import unleaked
from .plumbing import world
from .plumbing.files import ROOT, LabError, located
from .plumbing.names import MODEL_TITLES
from .plumbing.photos import pictures
from .runs import read
from .taught import fitted_temperature, tempered

SHOWN = 24  # pictures drawn at most
FOLDERS = (ROOT / "data" / "runs", ROOT / "build" / "quick" / "runs")


def predict(source, dataset="cifar10", run=None, top=3):
    """Return a table of the most probable classes of pictures, one row a picture, and
    draw the pictures as the network sees them.

    source: a picture file, a folder of them, a picture of Pillow, an array, uint8 (n,
        height, width, 1 or 3) or one image of it, or a list of these.
    dataset: a Dataset, the name of a known one, or the path of a folder: what the
        network was trained on.
    run: the Run whose weights are used, or the path of its folder; None: the last of
        `MODEL_TITLES` with weights.
    top: how many classes of each picture.

    Probabilities are calibrated. A picture is cut to its centre square and scaled.
    Where the training images stand on black or on white, it is brought onto that ground
    and cut to its object instead. A last column says what was done, and which picture
    is unlike the training images; see `plumbing.world`. Introduced in notebook 05.

    Raises LabError where there is no picture, or no network with weights.
    """
    ask = Predictor(dataset, run)
    names, images, done = pictures(source, ask.shape, ask.ground)
    print(f"Network: {ask.run.name}")
    probabilities, best = ask(images), range(1, min(top, len(ask.classes)) + 1)
    orders = np.argsort(-probabilities)[:, : len(best)].tolist()
    pairs = zip(probabilities, orders)
    rows = [[f"{ask.classes[j]} {p[j]:.0%}" for j in order] for p, order in pairs]
    shown = [(image, "\n".join(row)) for image, row in zip(images, rows)][:SHOWN]
    caption = "The pictures as the network sees them, with the most probable classes."
    figures.show(figures.labelled(shown), caption)
    print(f"Figure: {caption}")
    table = pd.DataFrame(rows, index=names, columns=[f"answer {i}" for i in best])
    unlike = ask.unlike(images)
    remarks = [[*words, *["unlike"] * odd] for words, odd in zip(done, unlike.tolist())]
    if any(remarks):
        table["remarks"] = [", ".join(words) for words in remarks]
    return table


class Predictor:
    """A stored network that gives calibrated probabilities.

    dataset, run: as for `predict`. Called with images, uint8 (n, *shape), it returns
        probabilities (n, classes), calibrated with the `fitted_temperature` of the
        run's validation images, without leaked ones. Images on the opposite of the
        training images' ground are inverted.
    Raises LabError for an unknown data set, for a run that keeps no probabilities of
    validation images, and where weights are missing or altered.
    """

    def __init__(self, dataset, run=None):
        if not isinstance(dataset, datasets.Dataset):
            known = datasets.KNOWN.get(str(dataset))  # whose images are not needed
            dataset = known or datasets.load(dataset)
        if isinstance(run, (str, os.PathLike)):
            path = located(run)
            if (found := path and read(path)) is None:
                raise LabError(f"There is no finished run in {run}.")
            run = found
        if run is not None and not hasattr(run, "predictions"):
            raise LabError(f"run is {type(run).__name__}: give one Run, or its folder.")
        self.run, self.title = run or latest(dataset.name), dataset.title
        if "validation_probabilities" not in self.run.predictions:
            raise LabError(f"{self.run.name} keeps no probabilities: ask a main run.")
        self.classes, self.shape = dataset.classes, dataset.shape
        self.ground = dataset.ground
        self.network = trained(self.run, dataset)
        self.temperature = fitted_temperature(*unleaked(self.run, "validation"))

    def __call__(self, images):
        return tempered(self._raw(images), self.temperature)

    def _raw(self, images):
        images, _ = world.brought(images, self.ground)
        parts = [images[i : i + 500] for i in range(0, len(images), 500)]
        return np.concatenate([self.network.predict_on_batch(part) for part in parts])

    def unlike(self, images):
        """Return (n,) bool: which images, uint8 (n, *shape), are unlike the training
        images, and print how many, and how often that is a false alarm.

        The threshold is chosen on the run's stored answers for the validation images
        without leaked ones.
        """
        validation, _ = unleaked(self.run, "validation")
        limit, known = world.limit(validation), world.likeness(validation)
        unlike = world.likeness(self._raw(images)) < limit
        false = (known < limit).sum()
        print(
            f"Unlike the training images of {self.title}: {unlike.sum()} of"
            f" {len(unlike)}, by an energy score that says so of {false} of"
            f" {len(known):,} validation images, too."
        )
        return unlike


def latest(name):
    """Return seed 0 of the last of `MODEL_TITLES` that was stored with weights on the
    data set `name`, by a notebook or in the quick profile.

    Raises LabError where there is none.
    """
    for folder in FOLDERS:
        for model in reversed(MODEL_TITLES):
            run = read(folder / name / model / "main" / "seed-0")
            if run and run.record["weights_file_sha256"]:
                return run
    raise LabError(
        f"No network with stored weights on {name}: run notebooks 02 to 04 first."
    )

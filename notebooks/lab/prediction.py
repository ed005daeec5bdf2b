"""A trained network on anybody's pictures."""

import numpy as np
import pandas as pd

from . import datasets
from . import drawing as figures
from .engine import trained
from .plumbing.files import ROOT, LabError
from .plumbing.names import MODEL_TITLES
from .plumbing.photos import pictures
from .runs import read
from .taught import fitted_temperature, tempered

SHOWN = 24  # pictures drawn at most


def predict(source, dataset="cifar10", run=None, top=3):
    """Return a table of the most probable classes of pictures, one row a picture, and
    draw the pictures.

    source: a picture file, a folder of them, or an array, uint8 (n, height, width, 1 or
        3) or one image of it.
    dataset: a Dataset or the name of a known one: what the network was trained on.
    run: the Run whose weights are used; None takes the last network of the story that
        has some.

    Probabilities are calibrated. A picture is cut to its centre square and scaled to
    the network's size, so the object should fill it; garments for Fashion-MNIST are
    light on black. Introduced in notebook 05.

    Raises LabError where there is no picture, or no network with weights.
    """
    ask = Predictor(dataset, run)
    names, images = pictures(source, ask.shape)
    probabilities, best = ask(images), range(1, min(top, len(ask.classes)) + 1)
    rows = []
    for p in probabilities:
        order = np.argsort(-p)[: len(best)]
        rows.append([f"{ask.classes[j]} {p[j]:.0%}" for j in order])
    shown = [(image, "\n".join(row)) for image, row in zip(images, rows)][:SHOWN]
    figures.show(figures.labelled(shown))
    return pd.DataFrame(rows, index=names, columns=[f"answer {i}" for i in best])


class Predictor:
    """A stored network that gives calibrated probabilities.

    dataset, run: as for `predict`. Called with images, uint8 (n, *shape), it returns
        probabilities (n, classes), calibrated with the `fitted_temperature` of the
        run's validation images.
    Raises LabError for an unknown data set, and where weights are missing or altered.
    """

    def __init__(self, dataset, run=None):
        if isinstance(dataset, str):
            if dataset not in datasets.KNOWN:
                raise LabError(
                    f"There is no data set called {dataset!r}: choose among"
                    f" {', '.join(datasets.KNOWN)}."
                )
            dataset = datasets.KNOWN[dataset]
        self.run = run or latest(dataset.name)
        self.classes, self.shape = dataset.classes, dataset.shape
        self.network = trained(self.run, dataset)
        self.temperature = fitted_temperature(*self.run.validation())

    def __call__(self, images):
        starts = range(0, len(images), 500)
        parts = [self.network.predict_on_batch(images[i : i + 500]) for i in starts]
        return tempered(np.concatenate(parts), self.temperature)


def latest(name):
    """Return the first seed of the last network of the story that was stored with
    weights on the data set `name`.

    Raises LabError where there is none.
    """
    for model in reversed(MODEL_TITLES):
        run = read(ROOT / "data" / "runs" / name / model / "main" / "seed-0")
        if run and run.record["weights_file_sha256"]:
            return run
    raise LabError(
        f"No network with stored weights on {name}: run notebooks 02 to 04 first."
    )

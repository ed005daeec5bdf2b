"""A trained network on anybody's pictures."""
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from . import analysis, datasets, photos, plots
from .files import ROOT, LabError
from .lesson import MODELS, trained
from .runs import read

SHOWN = 24  # pictures drawn at most


def predict(source, dataset="cifar10", run=None, top=3):
    """Return a table of the most probable classes of pictures, one row a picture, and draw the pictures.

    source: a picture file, a folder of them, or an array, uint8 (n, height, width, 1 or 3) or one image of it.
    dataset: a Dataset or the name of a known one: what the network was trained on.
    run: the Run whose weights are used; None takes the last network of the story that has some.
    Probabilities are calibrated. A picture is cut to its centre square and scaled to the network's size, so
    the object should fill it; garments for Fashion-MNIST are light on black. Introduced in notebook 05.

    Raises LabError where there is no picture, or no network with weights.
    """
    ask = Predictor(dataset, run)
    names, images = _pictures(source, ask.shape)
    probabilities = ask(images)
    order = np.argsort(-probabilities, axis=1)[:, : min(top, len(ask.classes))]
    answers = [[f"{ask.classes[j]} {p[j]:.0%}" for j in best] for p, best in zip(probabilities, order)]
    plots.show(plots.labelled([(image, "\n".join(answer)) for image, answer in zip(images[:SHOWN], answers)]))
    return pd.DataFrame(answers, index=names, columns=[f"answer {i + 1}" for i in range(order.shape[1])])


class Predictor:
    """A stored network that gives calibrated probabilities.

    dataset, run: as for `predict`. Called with images, uint8 (n, *shape), it returns probabilities (n, classes),
    calibrated with the `analysis.temperature` that fits the run's validation images.
    Raises LabError for an unknown data set, and where weights are missing or altered.
    """

    def __init__(self, dataset, run=None):
        known = datasets.KNOWN.get(dataset, dataset) if isinstance(dataset, str) else dataset
        if isinstance(known, str):
            raise LabError(f"There is no data set called {known!r}: choose among {', '.join(datasets.KNOWN)}.")
        self.run = run or latest(known.name)
        self.classes, self.shape, self.network = known.classes, known.shape, trained(self.run, known)
        self.temperature = analysis.temperature(
            self.run.predictions["validation_probabilities"], self.run.predictions["validation_labels"])

    def __call__(self, images):
        parts = [self.network.predict_on_batch(images[i : i + 500]) for i in range(0, len(images), 500)]
        return analysis.tempered(np.concatenate(parts), self.temperature)


def latest(name):
    """Return the first seed of the last network of the story that was stored with weights on the data set `name`.

    Raises LabError where there is none.
    """
    for model in reversed(MODELS):
        run = read(ROOT / "data" / "runs" / name / model / "main" / "seed-0")
        if run and run.record["weights_file_sha256"]:
            return run
    raise LabError(f"No network with stored weights on {name}: run notebooks 02 to 04 first.")


def _pictures(source, shape):
    """Return (names, uint8 images of `shape`) of a file, a folder or an array."""
    height, width, channels = shape
    if isinstance(source, np.ndarray):
        images = source[None] if source.ndim == 3 else source
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8 or not len(images):
            raise LabError(f"An array of images is uint8 of shape (n, height, width, 1 or 3); this is {source.dtype} {source.shape}.")
        images = [Image.fromarray(image.squeeze(axis=-1) if image.shape[-1] == 1 else image) for image in images]
        resized = [np.asarray(ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (width, height), Image.Resampling.LANCZOS))
                   for image in images]
        return list(range(len(images))), np.stack(resized).reshape(-1, *shape)
    path = Path(source)
    files = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith(".")) if path.is_dir() else [path]
    names, images = [], []
    for file in files:
        try:
            images.append(photos.read_picture(file, height, channels == 1))
            names.append(file.name)
        except photos.Unreadable as reason:
            print(f"{photos.legible(str(file))} is left out: {reason}")
    if not images:
        raise LabError(f"No picture can be read in {photos.legible(str(path))}: give a picture file, a folder of pictures or an array.")
    return names, np.stack(images)

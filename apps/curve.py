"""How many pictures are enough: a learning curve, its fit, and what twice the pictures
would bring.
"""

import json
from dataclasses import replace

import numpy as np
from scipy.stats import t

from lab.plumbing.files import ROOT, LabError, relative, write
from lab.taught import wilson

from . import splits

SHARES = (0.125, 0.25, 0.5, 1.0)  # of the training images
SEEDS = (0, 1, 2)
SIZE = 32  # pixels: the networks' images, small, so that twelve trainings stay short


def trained(collection, epochs=None):
    """Train the small network of notebook 03, one convolution, on shares of the
    training images, and keep and return what came out, as JSON can hold it.

    The accuracy is that of the validation images; the test images stay unopened.
    epochs: at most so many. Runs are kept in build/, and found there again.
    Raises LabError before the collection is divided, and for too few images.
    """
    division = splits.mark(collection)
    if division is None:
        raise LabError(
            f"{relative(collection.folder)} is not divided yet: first do step 4 of the"
            " page, or STEP=split."
        )
    from lab import datasets, engine, models
    from lab.plumbing.parameters import adapted

    dataset = datasets.load(str(collection.folder.resolve()), image_size=SIZE)
    images, classes = len(dataset.splits["training"]), len(dataset.classes)
    labels = dataset.split("training")[1]
    folder = ROOT / "build" / "collect" / collection.name / "runs"
    [first, *_] = models.one_conv_jobs
    first = adapted(replace(first, test=False), dataset, epochs)
    points = []
    for share in SHARES:
        if int(share * images) < classes or share * np.bincount(labels).min() < 1:
            print(f"1/{1 / share:.0f} of the training images is left out: too few.")
            continue
        subset = share if share < 1 else None
        for seed in SEEDS:
            recipe = replace(first.recipe, subset=subset)
            variant = f"share-1-{1 / share:.0f}"
            job = replace(first, variant=variant, seed=seed, recipe=recipe)
            [run] = engine.train([job], dataset, folder)
            answers, right = run.validation()
            points.append(
                {
                    "images": int(share * images),
                    "seed": seed,
                    "wrong": int((answers.argmax(axis=1) != right).sum()),
                }
            )
    if len({point["images"] for point in points}) < 2:
        raise LabError(
            "There are too few training images for a curve: label more, and divide"
            " again."
        )
    result = {
        "division": division,
        "validation": len(dataset.splits["validation"]),
        "points": points,
        "network": "one convolution",
    }
    result |= fitted(points, result["validation"])
    write(collection.inside / "curve.json", json.dumps(result, indent=1) + "\n")
    return result


def fitted(points, validation):
    """Return the power law, error = factor · images^-power, that fits the points, and
    what it says of twice as many images, as accuracies.

    points: dicts with "images" and "wrong"; validation: the number of images of which
        these were wrong. The fit is by least squares on the logarithms.
    "now": the mean at the largest number; "twice": (most likely, low, high), the 95 %
    interval for one more training there; "gain": (most likely, cautious) in accuracy:
    the cautious one is the interval's lower end, never below 0. A power law that levels
    off cannot be told from this one by four points, so the gain may be smaller.
    """
    images = np.array([point["images"] for point in points], float)
    # Half an error more keeps the logarithm where nothing was wrong.
    wrong = np.array([point["wrong"] for point in points])
    error = (wrong + 0.5) / (validation + 1)
    x, y = np.log(images), np.log(error)
    slope, start = np.polyfit(x, y, 1)
    freedom = len(x) - 2
    spread = np.sqrt(((y - start - slope * x) ** 2).sum() / freedom)
    most = images.max()
    there = np.log(2 * most)
    width = np.sqrt(
        1 + 1 / len(x) + (there - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    )
    half = t.ppf(0.975, freedom) * spread * width
    expected = start + slope * there
    likely, low, high = (
        float(1 - np.exp(log_error))
        for log_error in (expected, expected + half, expected - half)
    )
    now = float(1 - wrong[images == most].mean() / validation)
    fit_now = float(1 - np.exp(start + slope * np.log(most)))
    return {
        "power": float(-slope),
        "factor": float(np.exp(start)),
        "largest": int(most),
        "now": now,
        "interval": wilson(now, validation),
        "twice": tuple(max(0.0, share) for share in (likely, low, high)),
        "gain": (max(0.0, likely - fit_now), max(0.0, low - fit_now)),
    }


def drawn(result):
    """Return the curve as a matplotlib figure."""
    from matplotlib.figure import Figure

    from lab.drawing.base import COLOURS, WIDTH

    figure = Figure(figsize=(0.7 * WIDTH, 2.4))  # not pyplot: a thread may draw it
    axes = figure.subplots()
    images = np.array([point["images"] for point in result["points"]])
    wrong = np.array([point["wrong"] for point in result["points"]])
    right = 100 * (1 - wrong / result["validation"])
    axes.plot(images, right, "o", color=COLOURS[0], markersize=4, label="trainings")
    line = np.geomspace(images.min(), 2 * images.max(), 50)
    fit = 100 * (1 - result["factor"] * line ** -result["power"])
    axes.plot(line, fit, color=COLOURS[1], linewidth=1, label="fitted power law")
    likely, low, high = (100 * share for share in result["twice"])
    ends = [[likely - low], [high - likely]]
    mark = {"fmt": "s", "color": COLOURS[2], "markersize": 4, "capsize": 3}
    axes.errorbar([2 * images.max()], [likely], ends, **mark, label="twice the images")
    axes.set_xscale("log", base=2)
    ticks = sorted({*images, 2 * images.max()})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xlabel("training images")
    axes.set_ylabel("validation accuracy in %")
    axes.legend(frameon=False)
    return figure

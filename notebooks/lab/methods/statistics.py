"""How sure one may be: intervals, paired tests, and what several seeds can tell."""

import numpy as np
import pandas as pd

from ..plumbing import records
from ..taught import (
    confusion,
    f1_interval,
    half_interval,
    paired_interval,
    precision_recall_f1,
    wilson,
)


def gain(before, after):
    """Return by how much the accuracy of `after` exceeds that of `before`, with its
    paired 95 % interval, as fractions.

    before, after: Seeds of two networks on the same test images.
    """
    return paired_interval(before.right(), after.right())


def worth(before, after):
    """Return what the step from one network to another is worth, with its 95 %
    interval (NaN for one seed), as fractions.

    before, after: Seeds on the same test images. Two kinds of chance count: other test
    images, as in `gain`, and other seeds, as in `half_interval`.
    """
    difference, _, high = gain(before, after)
    if min(len(before), len(after)) < 2:
        return difference, np.nan, np.nan
    values = [seeds.values("test", "accuracy") for seeds in (before, after)]
    half = half_interval((high - difference) / 1.96, *values)
    return difference, difference - half, difference + half


def pooled_deviation(groups):
    """Return the standard deviation within groups, and its degrees of freedom."""
    squares = sum(((values - values.mean()) ** 2).sum() for values in groups)
    freedom = sum(len(values) - 1 for values in groups)
    return (float(np.sqrt(squares / freedom)) if freedom else np.nan), freedom


def pooled(study):
    """Return the `pooled_deviation` of the validation accuracy between seeds, over all
    points of a study, and its degrees of freedom.

    study: {point: Seeds}, or {factor: {point: Seeds}}. Points that `collapsed` are left
        out, and one that stands in it twice counts once.
    """
    points = []
    for value in study.values():
        points += value.values() if isinstance(value, dict) else [value]
    each = {id(seeds): seeds for seeds in points if not seeds.collapsed()}
    values = [seeds.values("validation", "accuracy") for seeds in each.values()]
    return pooled_deviation(values)


def p_text(p):
    """Return a p-value as the tables print it, nothing for NaN."""
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def class_intervals(probabilities, labels, classes):
    """Return a table of precision, recall and F1 in percent with 95 % intervals, and
    the support, one row a class.

    Precision and recall have `wilson` intervals, F1 has the `f1_interval`.
    """
    matrix = confusion(probabilities, labels)
    scores, (low, high) = precision_recall_f1(matrix)[2], f1_interval(matrix)
    rows = {}
    for i, name in enumerate(classes):
        support, right = int(matrix[i].sum()), int(matrix[i, i])
        rows[name] = row = {}
        predicted = int(matrix[:, i].sum())
        for measure, of in (("precision", predicted), ("recall", support)):
            row[measure] = "none"
            if of:
                row[measure] = between(right / of, *wilson(right / of, of))
        row["F1"] = between(scores[i], low[i], high[i])
        row["support"] = f"{support:,}"
    return pd.DataFrame(rows).T


def unleaked(run, split):
    """Return (probabilities, labels) of the images of a split of a Run that are not
    copies of training images.
    """
    probabilities, labels = records.answers(run.predictions, split)
    leaked = run.predictions.get(f"{split}_leaked", np.zeros(len(labels), bool))
    return probabilities[~leaked], labels[~leaked]


def mended(run):
    """Return the positions, two arrays, of the test images that only the mean over
    views gets right, and only the image alone; none for a run without views.
    """
    alone, labels = run.test()
    right = alone.argmax(axis=1) == labels
    views = run.predictions.get("test_probabilities_tta", alone)
    views_right = views.argmax(axis=1) == labels
    return np.flatnonzero(~right & views_right), np.flatnonzero(right & ~views_right)


def tried(network, images, labels, corruptions, corrupted):
    """Return a table of bool: which images a network has right, one row an image, one
    column a (corruption, strength); strength 0 is the untouched image.

    corruptions: {name: (function, its amounts)}; corrupted(images, function, amount)
        returns changed images.
    """

    def right(changed):
        return network.predict_on_batch(changed).argmax(axis=1) == labels

    untouched, columns = right(images), {}
    for kind, (function, amounts) in corruptions.items():
        columns[kind, 0] = untouched
        for strength, amount in enumerate(amounts, start=1):
            columns[kind, strength] = right(corrupted(images, function, amount))
    return pd.DataFrame(columns)


def percent(right):
    """Return the share of true values (n,) in percent with its `wilson` interval, as
    text ("none" for none).
    """
    if not len(right):
        return "none"
    share = right.mean()
    return between(share, *wilson(share, len(right)))


def with_interval(differences):
    """Return the mean of differences (n,) in points with its `paired_interval`, as
    text.
    """
    mean, low, high = paired_interval(0, differences)
    return signed(mean, low, high)


def signed(value, low, high):
    """Return a difference in points as text, with its interval where there is one;
    where a bound is near 0, both have two decimals.
    """
    if not np.isfinite(low):
        return f"{100 * value:+.1f}"
    digits = 1 if min(abs(low), abs(high)) >= 5e-4 else 2
    return f"{100 * value:+.1f} ({100 * low:+.{digits}f} to {100 * high:+.{digits}f})"


def between(value, low, high):
    """Return a share in percent with its interval, as text."""
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"

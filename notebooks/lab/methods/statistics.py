"""How sure one may be: intervals, paired tests, and what several seeds can tell."""

import numpy as np
import pandas as pd
from scipy.stats import t

from ..taught import (  # noqa: F401
    confusion,
    f1_interval,
    mcnemar,
    paired_interval,
    pooled_deviation,
    precision_recall_f1,
    prediction_interval,
    wilson,
)


def gain(before, after):
    """Return by how much the accuracy of `after` exceeds that of `before`, with its
    paired 95 % interval, as fractions.

    before, after: Seeds of two networks on the same test images.
    """
    return paired_interval(before.right(), after.right())


def worth(before, after, deviation, freedom):
    """Return what the step from one network to another is worth, with its 95 %
    interval, as fractions.

    before, after: Seeds on the same test images. Two kinds of chance count: other test
    images, as in `gain`, and other seeds, by the `pooled` deviation with its degrees of
    freedom.
    """
    difference, _, high = gain(before, after)
    images = (high - difference) / 1.96
    seeds = deviation * np.sqrt(1 / len(before) + 1 / len(after))
    half = t.ppf(0.975, freedom) * np.hypot(images, seeds)
    return difference, difference - half, difference + half


def pooled(study, split="validation"):
    """Return the `pooled_deviation` of an accuracy between seeds, over all points of a
    study, and its degrees of freedom.

    study: {point: Seeds}, or {factor: {point: Seeds}}. Points that `collapsed` are left
        out, and one that stands in it twice counts once.
    """
    points = []
    for value in study.values():
        points += value.values() if isinstance(value, dict) else [value]
    each = {id(seeds): seeds for seeds in points if not seeds.collapsed()}
    values = [seeds.values(split, "accuracy") for seeds in each.values()]
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
                row[measure] = _between(right / of, *wilson(right / of, of))
        row["F1"] = _between(scores[i], low[i], high[i])
        row["support"] = str(support)
    return pd.DataFrame(rows).T


def percent(right):
    """Return the share of true values (n,) in percent with its `wilson` interval, as
    text.
    """
    share = right.mean()
    return _between(share, *wilson(share, len(right)))


def with_interval(differences):
    """Return the mean of differences (n,) in points with its `paired_interval`, as
    text.
    """
    mean, low, high = paired_interval(0, differences)
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _between(value, low, high):
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"

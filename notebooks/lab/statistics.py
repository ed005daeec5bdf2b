"""How sure one may be: intervals, paired tests, and what several seeds can tell."""

import numpy as np
import pandas as pd
from scipy.stats import t

from .metrics import confusion
from .taught import (  # noqa: F401
    mcnemar,
    paired_interval,
    pooled_deviation,
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
    return pooled_deviation([one.values(split, "accuracy") for one in each.values()])


def holm(p_values):
    """Return p-values corrected for being several. Source: S. Holm (1979)."""
    order = np.argsort(p_values)
    raised = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    return np.minimum(np.maximum.accumulate(raised), 1)[np.argsort(order)]


def p_text(p):
    """Return a p-value as the tables print it, nothing for NaN."""
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def paired_t(differences):
    """Return the two-sided p of Student's paired t-test: may the seeds' differences
    have the mean zero? NaN for one seed.
    """
    n = len(differences)
    if n < 2:
        return np.nan
    mean, error = abs(np.mean(differences)), np.std(differences, ddof=1) / np.sqrt(n)
    return float(2 * t.sf(mean / error, n - 1)) if error else float(mean == 0)


def class_intervals(probabilities, labels, classes, draws=2000, seed=0):
    """Return a table of precision, recall and F1 in percent with 95 % intervals, and
    the support, one row a class.

    Precision and recall have `wilson` intervals; that of F1 is from a bootstrap over
    images: the cells of the confusion matrix drawn anew from their multinomial
    distribution.
    """
    matrix = confusion(probabilities, labels)
    shares = matrix.ravel() / matrix.sum()
    drawn = np.random.default_rng(seed).multinomial(matrix.sum(), shares, draws)
    scores = _f1(drawn.reshape(-1, *matrix.shape))
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    rows = {}
    for i, name in enumerate(classes):
        support, right = int(matrix[i].sum()), int(matrix[i, i])
        rows[name] = row = {}
        said = int(matrix[:, i].sum())
        for measure, of in (("precision", said), ("recall", support)):
            row[measure] = "none"
            if of:
                row[measure] = _between(right / of, *wilson(right / of, of))
        row["F1"] = _between(_f1(matrix)[i], low[i], high[i])
        row["support"] = str(support)
    return pd.DataFrame(rows).T


def _f1(matrix):
    """Return F1 of each class, 2 right / (said + support), of confusion matrices (...,
    classes, classes).
    """
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * right / np.maximum(matrix.sum(axis=-1) + matrix.sum(axis=-2), 1)


def _between(value, low, high):
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"

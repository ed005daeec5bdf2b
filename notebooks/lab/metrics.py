"""Metrics, computed from stored probabilities and labels alone. Notebook 02 teaches the
parts that come from `taught`.
"""

import numpy as np
import pandas as pd

from .taught import confident_errors, confusion, largest_confusions, precision_recall_f1  # noqa: F401


def measure(probabilities, labels):
    """Return accuracy, balanced accuracy, macro-F1 and log-loss, the first three from 0
    to 1.

    probabilities: (n, classes), float16 as they are stored; labels: integers (n,).
        Balanced accuracy is the mean recall of the classes that have images. Log-loss
        is the mean of -ln p(label), with p not below 1e-4.
    Introduced in notebook 05.
    """
    matrix = confusion(probabilities, labels)
    _, recall, f1 = precision_recall_f1(matrix)
    p = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float(np.diag(matrix).sum() / matrix.sum()),
        "balanced_accuracy": float(recall[matrix.sum(axis=1) > 0].mean()),
        "macro_f1": float(f1.mean()),
        "log_loss": float(-np.log(np.clip(p, 1e-4, 1)).mean()),
    }


def by_class(probabilities, labels, classes):
    """Return a table, one row a class: precision, recall, F1 (0 to 1) and support."""
    matrix = confusion(probabilities, labels)
    columns = [*precision_recall_f1(matrix), matrix.sum(axis=1)]
    named = zip(["precision", "recall", "F1", "support"], columns)
    return pd.DataFrame(dict(named), index=list(classes))

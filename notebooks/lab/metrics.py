"""Metrics, computed from stored probabilities and labels alone."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support


def measure(probabilities, labels):
    """Return accuracy, balanced accuracy, macro-F1 and log-loss, the first three from 0
    to 1.

    probabilities: (n, classes), float16 as they are stored; labels: integers (n,).
        Balanced accuracy is the mean recall of the classes that have images. Log-loss
        is the mean of -ln p(label), with p not below 1e-4.
    Introduced in notebook 02.
    """
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    matrix = confusion(probabilities, labels)
    support = matrix.sum(axis=1)
    recalls = np.diag(matrix)[support > 0] / support[support > 0]
    p = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "balanced_accuracy": float(recalls.mean()),
        "macro_f1": float(
            f1_score(
                labels, predicted, average="macro", labels=classes, zero_division=0
            )
        ),
        "log_loss": float(-np.log(np.clip(p, 1e-4, 1)).mean()),
    }


def confusion(probabilities, labels):
    """Return the confusion matrix: integers, one row a true class, one column a
    predicted class.
    """
    return confusion_matrix(
        labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])
    )


def by_class(probabilities, labels, classes):
    """Return a DataFrame with precision, recall, F1 and support, one row a class."""
    values = precision_recall_fscore_support(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(len(classes)),
        zero_division=0,
    )
    return pd.DataFrame(
        dict(zip(["precision", "recall", "F1", "support"], values)), index=list(classes)
    )


def mended(run):
    """Return the positions of the test images that only the mean over six views gets
    right, and of those that only the image alone does.
    """
    alone, labels = run.test()
    right = alone.argmax(axis=1) == labels
    views_right = run.predictions["test_probabilities_tta"].argmax(axis=1) == labels
    return np.flatnonzero(~right & views_right), np.flatnonzero(right & ~views_right)


def confident_errors(probabilities, labels, n=12):
    """Return the positions of the n wrong answers that were given with the highest
    probability.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:n]


def largest_confusions(matrix, classes, n=3):
    """Return the n largest errors of a confusion matrix as (true class, predicted
    class, count), fewer where there are fewer.
    """
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind="stable")[:n]
    return [
        (classes[i], classes[j], int(errors[i, j]))
        for i, j in zip(*np.unravel_index(order, errors.shape))
        if errors[i, j]
    ]

"""How sure a network may be: calibrated probabilities, and answers "not sure"."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from .taught import tempered


def temperature(probabilities, labels):
    """Return the temperature whose `tempered` probabilities have the lowest log-loss;
    fitted on validation.
    """

    def loss(log_temperature):
        p = tempered(probabilities, np.exp(log_temperature))[
            np.arange(len(labels)), labels
        ]
        return -np.log(np.maximum(p, 1e-6)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def reliability(probabilities, labels, bins=15):
    """Return a table, one row a bin of the highest probability: mean confidence,
    accuracy, images; empty bins left out.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    frame = pd.DataFrame(
        {"confidence": confidence, "accuracy": probabilities.argmax(axis=1) == labels}
    )
    table = frame.groupby(place).mean()
    return table.assign(images=np.bincount(place, minlength=bins)[table.index])


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error: the mean gap of confidence and accuracy
    over bins, weighted by images.
    """
    table = reliability(probabilities, labels, bins)
    return float(
        np.average(
            (table["confidence"] - table["accuracy"]).abs(), weights=table["images"]
        )
    )


def brier(probabilities, labels):
    """Return the Brier score: the mean over images of the sum over classes of (p -
    [class is the label])^2, 0 to 2.
    """
    wanted = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities.astype(np.float64) - wanted) ** 2).sum(axis=1).mean())


def coverage(probabilities, labels):
    """Return (share answered, accuracy) when only the surest images are answered, for
    every possible threshold.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    count = np.arange(1, len(right) + 1)
    return count / len(right), right.cumsum() / count


def threshold(probabilities, labels, accuracy=0.95):
    """Return the lowest confidence from which on the answers are right that often,
    infinity where there is none.
    """
    confidence = np.sort(probabilities.max(axis=1))[::-1]
    ends = np.flatnonzero(
        np.append(np.diff(confidence) != 0, True)
    )  # equal confidences go together
    enough = ends[coverage(probabilities, labels)[1][ends] >= accuracy]
    return float(confidence[enough[-1]]) if len(enough) else np.inf

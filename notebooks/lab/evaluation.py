"""Metrics, computed from stored probabilities and labels alone."""
import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support


def metrics(probabilities, labels):
    """Return accuracy, balanced accuracy, macro-F1 and log-loss, the first three from 0 to 1.

    probabilities: (n, classes), float16 as they are stored; labels: integers (n,).
    Balanced accuracy is the mean recall of the classes that have images.
    Log-loss is the mean of -ln p(label), with p not below 1e-4 (about float16's resolution).
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
        "macro_f1": float(f1_score(labels, predicted, average="macro", labels=classes, zero_division=0)),
        "log_loss": float(-np.log(np.clip(p, 1e-4, 1)).mean()),
    }


def wilson(accuracy, n):
    """Return the 95 % Wilson interval (low, high) of an accuracy measured on n images.

    Source: E. B. Wilson (1927), as scipy.stats computes it.
    """
    interval = binomtest(round(accuracy * n), n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def confusion(probabilities, labels):
    """Return the confusion matrix: integers, one row a true class, one column a predicted class."""
    return confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1]))


def by_class(probabilities, labels, classes):
    """Return a DataFrame with precision, recall, F1 and support, one row a class."""
    values = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=np.arange(len(classes)), zero_division=0)
    return pd.DataFrame(dict(zip(["precision", "recall", "F1", "support"], values)), index=list(classes))


def over_seeds(runs):
    """Return a row of a table on runs that differ in their seed: test metrics in percent, seeds, parameters,
    minutes.

    Accuracy and macro-F1 are means, with the standard deviation where there are several runs; the
    interval is `wilson` of the mean accuracy. Where test images have the pixels of a training
    image, the accuracy without them is added.
    """
    def mean(metric):
        values = [100 * run.record["metrics"]["test"][metric] for run in runs]
        return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(runs) > 1 else "")

    first = runs[0].record
    low, high = wilson(np.mean([run.record["metrics"]["test"]["accuracy"] for run in runs]),
                       len(runs[0].predictions["test_labels"]))
    row = {"accuracy": mean("accuracy"), "interval": f"{100 * low:.1f} to {100 * high:.1f}"}
    if "accuracy_without_leaked" in first["metrics"]["test"]:
        row["not leaked"] = mean("accuracy_without_leaked")
    return row | {"macro-F1": mean("macro_f1"), "seeds": str(len(runs)), "parameters": f"{first['parameters']:,}",
                  "minutes": f"{np.mean([run.record['seconds']['train'] for run in runs]) / 60:.1f}"}


def gain(before, after):
    """Return by how much the accuracy of `after` exceeds that of `before`, with its paired 95 % interval.

    before, after: runs of two networks on the same test images, one a seed. For each image the
    share of seeds that are right is compared; the interval is that of the mean difference over
    images, mean ± 1.96 standard errors. All three are fractions.
    """
    def right(runs):
        return np.mean([run.test()[0].argmax(axis=1) == run.test()[1] for run in runs], axis=0)

    difference = right(after) - right(before)
    error = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(difference.mean() - error), float(difference.mean() + error)


def confident_errors(probabilities, labels, n=12):
    """Return the positions of the n wrong answers that were given with the highest probability."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:n]


def largest_confusions(matrix, classes, n=3):
    """Return the n largest errors of a confusion matrix as (true class, predicted class, count)."""
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind="stable")[:n]
    return [(classes[i], classes[j], int(errors[i, j])) for i, j in zip(*np.unravel_index(order, errors.shape))]

"""Metrics, computed from stored probabilities and labels alone."""
import numpy as np
import pandas as pd
from scipy.stats import binomtest, t
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support


def metrics(probabilities, labels):
    """Return accuracy, balanced accuracy, macro-F1 and log-loss, the first three from 0 to 1.

    probabilities: (n, classes), float16 as they are stored; labels: integers (n,).
    Balanced accuracy is the mean recall of the classes that have images.
    Log-loss is the mean of -ln p(label), with p not below 1e-4.
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

    All are means; accuracies with the standard deviation where there are several runs; the
    interval is `wilson` of the mean accuracy. Where test images have the pixels of a training
    image, the accuracy without them is added; likewise that with test-time augmentation.
    """
    first = runs[0].record
    low, high = wilson(np.mean([run.record["metrics"]["test"]["accuracy"] for run in runs]),
                       len(runs[0].predictions["test_labels"]))
    row = {"accuracy": mean_and_deviation(runs, "test", "accuracy"), "interval": f"{100 * low:.1f} to {100 * high:.1f}"}
    for name, metric in (("not leaked", "accuracy_without_leaked"), ("six views", "accuracy_tta")):
        if metric in first["metrics"]["test"]:
            row[name] = mean_and_deviation(runs, "test", metric)
    means = {name: f"{100 * np.mean([run.record['metrics']['test'][metric] for run in runs]):.1f}"
             for name, metric in (("balanced", "balanced_accuracy"), ("macro-F1", "macro_f1"))}
    return row | means | {"seeds": str(len(runs)), "parameters": f"{first['parameters']:,}",
                  "minutes": f"{np.mean([run.record['seconds']['train'] for run in runs]) / 60:.1f}"}


def scores(named):
    """Return the table of `over_seeds` for {name: runs}, one row a name; columns that no row has are left out."""
    table = pd.DataFrame({name: over_seeds(runs) for name, runs in named.items()}).T.fillna("")
    columns = ("accuracy", "interval", "six views", "not leaked", "balanced", "macro-F1", "seeds", "parameters", "minutes")
    return table[[name for name in columns if name in table]]


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


def prediction_interval(values):
    """Return the 95 % interval (low, high) of one further value, from at least two that were drawn alike.

    Source: Student's t distribution, mean ± t · s · sqrt(1 + 1/n); n values with standard deviation s.
    """
    n = len(values)
    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / n)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def holm(p_values):
    """Return p-values corrected for being several. Source: S. Holm (1979), step-down."""
    order = np.argsort(p_values)
    raised = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    return np.minimum(np.maximum.accumulate(raised), 1)[np.argsort(order)]


def p_text(p):
    """Return a p-value as the tables print it, nothing for NaN."""
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def pooled(study, split="validation"):
    """Return the standard deviation of an accuracy between seeds, over all points of a study, and its degrees of
    freedom (0 and NaN where each point has one seed). Points that `collapsed` are left out.

    study: {factor: {variant: runs}}, as `Lesson.study` returns it.
    """
    points = {id(runs): accuracies(runs, split) for points in study.values() for runs in points.values()
              if not all(collapsed(run) for run in runs)}.values()
    freedom = sum(len(values) - 1 for values in points)
    squares = sum(((values - values.mean()) ** 2).sum() for values in points)
    return float(np.sqrt(squares / freedom)) if freedom else np.nan, freedom


def collapsed(run):
    """Return whether a training failed so far that the network has one answer for all validation images."""
    return len(np.unique(run.validation()[0].argmax(axis=1))) == 1


def accuracies(runs, split="validation"):
    """Return the accuracy of each run; of validation images only those that are not in training, too."""
    name = kept_images(runs, "accuracy") if split == "validation" else "accuracy"
    return np.array([run.record["metrics"][split][name] for run in runs])


def kept_images(runs, metric):
    """Return the name of a validation metric without the images that stand in training, where there are any."""
    name = f"{metric}_without_leaked"
    return name if name in runs[0].record["metrics"]["validation"] else metric


def worth(before, after, deviation, freedom):
    """Return what the step from one network to another is worth, with its 95 % interval, as fractions.

    before, after: runs on the same test images, one a seed. Two kinds of chance count: other test images, as in
    `gain`, and other seeds, by the `pooled` deviation with its degrees of freedom.
    """
    difference, _, high = gain(before, after)
    images, seeds = (high - difference) / 1.96, deviation * np.sqrt(1 / len(before) + 1 / len(after))
    half = t.ppf(0.975, freedom) * np.hypot(images, seeds)
    return difference, difference - half, difference + half


def steps(points, before):
    """Return a table of networks that were trained alike, one row each, and what each step is worth on the test images.

    points: {name: runs}; before: {name: the name of the network that it is compared with}. Accuracy in percent, worth
    in points with the interval of `worth`; TFLOP are 1e12 operations, for one training.
    """
    deviation, freedom = pooled({"": points}, "test")
    rows = {}
    for name, runs in points.items():
        record = runs[0].record
        rows[name] = row = {"accuracy": mean_and_deviation(runs, "test", "accuracy"), "compared with": "", "worth": "",
                            "interval": "", "parameters": f"{record['parameters']:,}", "TFLOP": f"{1000 * record['pflop']:.3g}"}
        if before.get(name) in points:
            value, low, high = (100 * number for number in worth(points[before[name]], runs, deviation, freedom))
            row |= {"compared with": before[name], "worth": f"{value:+.1f}", "interval": f"{low:+.1f} to {high:+.1f}"}
    return pd.DataFrame(rows).T


def three_splits(named):
    """Return the accuracy in percent on training, validation and test images of the first seed, one row a network.

    named: {name: runs}. The last column is what training accuracy has over test accuracy, in points. Networks whose
    training accuracy was not measured are left out.
    """
    metrics = {name: runs[0].record["metrics"] for name, runs in named.items()}
    rows = {name: {split: 100 * values[split]["accuracy"] for split in ("training", "validation", "test")}
            for name, values in metrics.items() if "training" in values}
    table = pd.DataFrame(rows).T
    return table.assign(gap=table["training"] - table["test"]).map("{:.1f}".format) if rows else table


def against_base(study, macro_f1=False):
    """Return a table of a study, one row a point: validation accuracy, its difference to the base, and what it says.

    Accuracies in percent (mean ± standard deviation over seeds), differences in points. p is of the
    t-test with the `pooled` standard deviation, corrected by `holm`; below 0.05 the point is better or worse. Else the
    verdict tells below how many points the difference lies, either way: the further end of its 95 % interval.
    macro_f1: show the macro-F1, too, which counts rare classes as much as frequent ones.
    """
    points = {f"{factor} {name.split('-', 1)[1]}": runs for factor, points in study.items() for name, runs in points.items()}
    base = next(runs for runs in points.values() if runs[0].record["variant"] == "study-base")
    others = {name: runs for name, runs in points.items() if runs is not base}
    return _compared({"base": base} | others, [base] * len(others), study, macro_f1)


def step_by_step(points, study):
    """Return the same table for points that follow on one another, each compared with the one before.

    points: {name: runs}; study: what the standard deviation is pooled over.
    """
    return _compared(points, list(points.values())[:-1], study)


def _compared(points, references, study, macro_f1=False):
    """Return a row for each of `points`; the first has no reference, the others one each."""
    first, *others = points.items()
    differences = np.array([accuracies(runs).mean() - accuracies(one).mean() for (_, runs), one in zip(others, references)])
    deviation, freedom = pooled(study)
    errors = deviation * np.sqrt([1 / len(runs) + 1 / len(one) for (_, runs), one in zip(others, references)])
    p_values = holm(2 * t.sf(np.abs(differences) / errors, freedom)) if freedom else np.ones(len(others))
    bounds = np.abs(differences) + t.ppf(0.975, freedom) * errors if freedom else np.full(len(others), np.nan)
    rows = {first[0]: _point_row(first[1], macro_f1)}
    for (name, runs), difference, p, bound in zip(others, differences, p_values, bounds):
        verdict = "better" if difference > 0 else "worse"
        if p >= 0.05:
            verdict = "cannot tell" + (f", < {np.ceil(1000 * bound) / 10:.1f}" if freedom else "")
        rows[name] = _point_row(runs, macro_f1) | {"difference": f"{round(100 * difference, 1) + 0.0:+.1f}", "p": p_text(p), "verdict": verdict}
    table = pd.DataFrame(rows).T.fillna("")
    return table[[name for name in table if name not in ("parameters", "seconds")] + ["parameters", "seconds"]]


def _point_row(runs, macro_f1):
    wanted = {"accuracy": "accuracy"} | ({"macro-F1": "macro_f1"} if macro_f1 else {}) | {"six views": "accuracy_tta"}
    row = {name: mean_and_deviation(runs, "validation", kept_images(runs, metric)) for name, metric in wanted.items()
           if metric in runs[0].record["metrics"]["validation"]}
    return row | {"parameters": f"{runs[0].record['parameters']:,}",
                  "seconds": f"{np.mean([run.record['seconds']['train'] for run in runs]):.0f}"}


def mean_and_deviation(runs, split, metric):
    """Return a metric of some runs in percent: its mean, with the standard deviation where there are several."""
    values = [100 * run.record["metrics"][split][metric] for run in runs]
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def mended(run):
    """Return the positions of the test images that only the mean over six views gets right, and of those that only
    the image alone does."""
    alone, labels = run.test()
    right = alone.argmax(axis=1) == labels
    views_right = run.predictions["test_probabilities_tta"].argmax(axis=1) == labels
    return np.flatnonzero(~right & views_right), np.flatnonzero(right & ~views_right)


def confident_errors(probabilities, labels, n=12):
    """Return the positions of the n wrong answers that were given with the highest probability."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:n]


def largest_confusions(matrix, classes, n=3):
    """Return the n largest errors of a confusion matrix as (true class, predicted class, count), fewer where there are fewer."""
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind="stable")[:n]
    return [(classes[i], classes[j], int(errors[i, j])) for i, j in zip(*np.unravel_index(order, errors.shape)) if errors[i, j]]

"""What stands in a run's record, and what a run keeps of its answers."""

import json
from dataclasses import asdict

import numpy as np

from .files import sha256

# Fields that recipes had, with the one value that they took: old hashes hold them.
GONE = {"loss": "categorical_crossentropy"}


def hashed(recipe):
    """Return the part of a recipe, as a dict, that hashes hold: what is not None."""
    return GONE | {name: value for name, value in recipe.items() if value is not None}


def asked(job, dataset):
    """Return the part of a run's record that says what was asked for."""
    return {
        "dataset": dataset.name,
        "model": job.model,
        "variant": job.variant,
        "seed": job.seed,
        "recipe": asdict(job.recipe),
        "data_sha256": dataset.sha256,
        "split_sha256": dataset.split_sha256,
    }


def answers_alone(arrays):
    """Return the arrays of a run with the answers in place of all probabilities."""
    kept = {key: array for key, array in arrays.items() if "probabilities" not in key}
    for split in ("validation", "test"):
        if f"{split}_probabilities" not in arrays:
            continue
        probabilities = arrays[f"{split}_probabilities"]
        answers, rows = probabilities.argmax(axis=1), np.arange(len(probabilities))
        kept["classes"] = np.int16(probabilities.shape[1])
        kept[f"{split}_answer"] = answers.astype(np.int16)
        kept[f"{split}_p_answer"] = probabilities[rows, answers]
        kept[f"{split}_p_label"] = probabilities[rows, arrays[f"{split}_labels"]]
        if f"{split}_probabilities_tta" in arrays:
            views = arrays[f"{split}_probabilities_tta"].argmax(axis=1)
            kept[f"{split}_answer_tta"] = views.astype(np.int16)
    return kept


def spoilt(corruptions):
    """Return what the columns of the stored array `corrupted_right` are, as text: for
    each of {name: (function, its amounts)} the untouched images, 0, and each amount.
    """
    return [
        f"{name} {amount}"
        for name, (_, amounts) in corruptions.items()
        for amount in (0, *amounts)
    ]


def answers(predictions, split, tta=""):
    """Return (probabilities, labels) of a split, in its order, from the stored arrays.

    Runs that are no headline run store of each image the answer, its probability and
    that of the label; all other probabilities are 0 here. Accuracy, macro-F1 and
    log-loss follow from these alone.
    tta: "_tta" for means over views.
    """
    labels = predictions[f"{split}_labels"]
    if f"{split}_probabilities{tta}" in predictions:
        return predictions[f"{split}_probabilities{tta}"], labels
    rows = np.arange(len(labels))
    probabilities = np.zeros((len(labels), int(predictions["classes"])), np.float16)
    answer = predictions[f"{split}_answer{tta}"]
    if tta:
        probabilities[rows, answer] = 1
    else:
        probabilities[rows, labels] = predictions[f"{split}_p_label"]
        probabilities[rows, answer] = predictions[f"{split}_p_answer"]
    return probabilities, labels


def setting(record):
    """Return the SHA-256 of what two runs have in common that differ in nothing but the
    seed and the machine.
    """
    names = ("parameters", "data_sha256", "split_sha256")
    common = [hashed(record["recipe"]), *(record[name] for name in names)]
    return sha256(json.dumps(common, sort_keys=True))


def all_metrics(predictions, measure):
    """Return the metrics of each split that was predicted, from the stored arrays.

    measure: the function `metrics.measure`.

    Where images have the pixels of a training image, the metrics `..._without_leaked`
    leave them out.
    """
    metrics = {}
    if "training_right" in predictions:
        metrics["training"] = {"accuracy": float(predictions["training_right"].mean())}
    for split in ("validation", "test"):
        if f"{split}_labels" not in predictions:
            continue
        metrics[split] = _metrics(predictions, split, measure, slice(None))
        if f"{split}_leaked" in predictions:
            clean = _metrics(
                predictions, split, measure, ~predictions[f"{split}_leaked"]
            )
            for name in ("accuracy", "macro_f1", "accuracy_tta"):
                if name in clean:
                    metrics[split][f"{name}_without_leaked"] = clean[name]
    return metrics


def _metrics(predictions, split, measure, kept):
    probabilities, labels = answers(predictions, split)
    metrics = measure(probabilities[kept], labels[kept])
    if {f"{split}_probabilities_tta", f"{split}_answer_tta"} & set(predictions):
        views, labels = answers(predictions, split, "_tta")
        tta = measure(views[kept], labels[kept])
        metrics["accuracy_tta"] = tta["accuracy"]
    return metrics

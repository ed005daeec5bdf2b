"""What a training run leaves behind, and the seeds of one network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import metrics
from .plumbing import records, storage
from .plumbing.files import LabError
from .plumbing.names import MODEL_TITLES
from .plumbing.screen import clock
from .recipes import Recipe
from .taught import wilson


@dataclass
class Run:
    """A finished run: `record` is its run.json, `history` a row an epoch, `predictions`
    arrays.
    """

    path: Path
    record: dict
    history: pd.DataFrame
    predictions: dict

    @property
    def name(self) -> str:
        """dataset/model/variant/seed-k, its place under data/runs."""
        return "/".join(self.path.parts[-4:])

    @property
    def label(self) -> str:
        """The model's name, with the variant where that is not the headline one."""
        model, variant = self.record["model"], self.record["variant"]
        return model if variant == "main" else f"{model} {variant}"

    @property
    def recipe(self) -> Recipe:
        """The recipe that it was trained with."""
        return Recipe.of(self.record)

    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (probabilities, labels) of the test images, in the split's order."""
        return records.answers(self.predictions, "test")

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (probabilities, labels) of the validation images."""
        return records.answers(self.predictions, "validation")

    def summary(self) -> str:
        """Return a line: what was trained, how long, when, where and its accuracy."""
        record, found = self.record, self.record["metrics"]
        split = "validation" if "validation" in found else "test"
        return (
            f"{self.label} on {record['dataset']}, seed {record['seed']}:"
            f" {record['epochs_run']} epochs in {clock(record['seconds']['train'])} on"
            f" {record['finished_at'][:10]} ({record['environment']['device']});"
            f" {split} accuracy {found[split]['accuracy']:.1%}"
        )

    def load_weights(self, model, classes):
        """Put the stored weights (float16) into a freshly built `model` and return it.

        classes: the names of the model's answers. Raises LabError where the file is
            missing or altered, or holds the weights of another network or of other
            classes.
        """
        weights = storage.weights(self.path, self.record, classes)
        if [one.shape for one in weights] != [tuple(w.shape) for w in model.weights]:
            raise LabError(
                f"The weights of {self.name} do not fit the network, which has changed"
                " since: train it again."
            )
        model.set_weights(weights)
        return model


class Seeds(tuple):
    """The runs of one network on one data set that differ in their seed alone."""

    @property
    def title(self) -> str:
        """The network's name as figures and tables print it."""
        return MODEL_TITLES.get(self[0].record["model"], self[0].record["model"])

    def has(self, split: str, metric: str) -> bool:
        """Return whether every run has a metric of a split."""
        return all(metric in run.record["metrics"].get(split, {}) for run in self)

    def values(self, split: str, metric: str) -> np.ndarray:
        """Return a metric of a split, one value for each run.

        Of the validation images, those that stand in training, too, are left out.
        """
        kept = f"{metric}_without_leaked"
        name = kept if split == "validation" and self.has(split, kept) else metric
        return np.array([run.record["metrics"][split][name] for run in self])

    def mean(self, split: str = "test", metric: str = "accuracy") -> float:
        """Return the mean of a metric, such as an accuracy from 0 to 1."""
        return float(self.values(split, metric).mean())

    def deviation(self, split: str = "test", metric: str = "accuracy") -> float:
        """Return the standard deviation of a metric between seeds; NaN for one seed."""
        values = self.values(split, metric)
        return float(values.std(ddof=1)) if len(values) > 1 else np.nan

    def percent(self, split: str = "test", metric: str = "accuracy") -> str:
        """Return the mean in percent as text, with the deviation of several seeds."""
        mean, spread = 100 * self.mean(split, metric), self.deviation(split, metric)
        return f"{mean:.1f}" + (f" ± {100 * spread:.1f}" if len(self) > 1 else "")

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the mean test accuracy, due to the number of test
        images; see `taught.wilson`.
        """
        return wilson(self.mean(), len(self[0].predictions["test_labels"]))

    def right(self) -> np.ndarray:
        """Return for each test image the share of the runs whose answer is right."""
        tests = [run.test() for run in self]
        return np.mean([p.argmax(axis=1) == labels for p, labels in tests], axis=0)

    def seconds(self) -> float:
        """Return the mean seconds of training."""
        return float(np.mean([run.record["seconds"]["train"] for run in self]))

    def collapsed(self) -> bool:
        """Return whether every training failed so far that its network has one answer
        for all validation images.
        """
        answered = [run.validation()[0].argmax(axis=1) for run in self]
        return all(len(np.unique(one)) == 1 for one in answered)


def all_metrics(predictions: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return the metrics of each split that was predicted, from the stored arrays.

    Where images have the pixels of a training image, the metrics `..._without_leaked`
    leave them out.
    """
    found = {}
    if "training_right" in predictions:
        found["training"] = {"accuracy": float(predictions["training_right"].mean())}
    for split in ("validation", "test"):
        if f"{split}_labels" not in predictions:
            continue
        found[split] = _metrics(predictions, split, slice(None))
        if f"{split}_leaked" in predictions:
            clean = _metrics(predictions, split, ~predictions[f"{split}_leaked"])
            for name in ("accuracy", "macro_f1", "accuracy_tta"):
                if name in clean:
                    found[split][f"{name}_without_leaked"] = clean[name]
    return found


def _metrics(predictions, split, chosen):
    probabilities, labels = records.answers(predictions, split)
    found = metrics.measure(probabilities[chosen], labels[chosen])
    if {f"{split}_probabilities_tta", f"{split}_answer_tta"} & set(predictions):
        views, labels = records.answers(predictions, split, "_tta")
        tta = metrics.measure(views[chosen], labels[chosen])
        found["accuracy_tta"] = tta["accuracy"]
    return found


def read(path: Path | str) -> Run | None:
    """Return the finished Run stored in the folder `path`, or None where there is none.

    Raises LabError when its files do not belong together.
    """
    content = storage.read(path)
    return content and Run(Path(path), *content)


def headline(folder: Path | str, dataset=None) -> tuple[Seeds, int]:
    """Return (seeds, others): the finished runs in a folder, one a seed, that share the
    newest one's `records.setting`, and how many do not.

    dataset: where its images are here, runs on other images or other splits are among
        the others.
    """
    found = [run for run in map(read, sorted(Path(folder).glob("seed-*"))) if run]
    fitting = found
    if dataset and dataset.available:
        here = dataset.sha256, dataset.split_sha256
        fitting = [
            run
            for run in found
            if (run.record["data_sha256"], run.record["split_sha256"]) == here
        ]
    if not fitting:
        return Seeds(), len(found)
    newest = max((run.record for run in fitting), key=lambda one: one["finished_at"])
    alike = [
        run for run in fitting if records.setting(run.record) == records.setting(newest)
    ]
    return Seeds(alike), len(found) - len(alike)

"""What a training run leaves behind, and the seeds of one network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .plumbing import records, storage
from .plumbing.names import MODEL_TITLES
from .plumbing.screen import finished
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
    def title(self) -> str:
        """The network's name as figures and tables print it."""
        return MODEL_TITLES.get(self.record["model"], self.record["model"])

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
        """Return probabilities (n, classes) and labels (n,) of test, in its order."""
        return records.answers(self.predictions, "test")

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, classes) and labels (n,) of validation."""
        return records.answers(self.predictions, "validation")

    def summary(self) -> str:
        """Return a line: what was trained, how long, when, where and its accuracy."""
        return finished(self.label, self.record)


class Seeds(tuple):
    """The runs of one network on one data set that differ in their seed alone."""

    @property
    def title(self) -> str:
        """The network's name, that of each run."""
        return self[0].title

    def has(self, split: str, metric: str) -> bool:
        """Return whether every run has a metric of a split."""
        return all(metric in run.record["metrics"].get(split, {}) for run in self)

    def values(self, split: str, metric: str) -> np.ndarray:
        """Return a metric of a split, one value for each run.

        For accuracies and macro-F1 on validation images, those that stand in training,
        too, are left out.
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

    def interval(self, metric: str = "accuracy") -> tuple[float, float]:
        """Return the 95 % interval of the mean of an accuracy on test images, due to
        their number; see `taught.wilson`.
        """
        return wilson(self.mean("test", metric), len(self[0].test()[1]))

    def right(self) -> np.ndarray:
        """Return (n,) for each test image the share of the runs that are right."""
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
        return all(len(np.unique(answers)) == 1 for answers in answered)


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
    runs = [run for run in map(read, sorted(Path(folder).glob("seed-*"))) if run]
    fitting = runs
    if dataset and dataset.available:
        here = dataset.sha256, dataset.split_sha256
        fitting = [
            run
            for run in runs
            if (run.record["data_sha256"], run.record["split_sha256"]) == here
        ]
    if not fitting:
        return Seeds(), len(runs)
    newest = max(fitting, key=lambda run: run.record["finished_at"]).record
    alike = [
        run for run in fitting if records.setting(run.record) == records.setting(newest)
    ]
    return Seeds(alike), len(runs) - len(alike)

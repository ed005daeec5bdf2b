"""One notebook at work: its profile and data sets, the runs that it reads or trains."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from . import datasets, engine, metrics
from . import drawing as figures
from .datasets import Dataset
from .drawing import tables
from .drawing.output import Output
from .plan import plan
from .plumbing import keeping, parameters, sources
from .plumbing.backend import hand_back
from .plumbing.files import ROOT, LabError, relative
from .plumbing.names import BASE, DATA_SETS, MODEL_TITLES
from .plumbing.numbers import numbers_of
from .plumbing.parameters import adapted
from .plumbing.storage import run_sha256, waiting
from .recipes import Job
from .runs import Run, Seeds, headline

DATASETS = {"quick": ["digits"], "full": list(DATA_SETS)}  # what "all" means
QUICK_EPOCHS = 3
# The accuracies of our seeds, written by tools/report.py.
EXPECTED = ROOT / "data" / "expected.json"


def start(
    notebook: str,
    profile: str = "full",
    names: str | list[str] = "all",
    seeds: list[int] = (0,),
    retrain: bool = False,
    classes: str | list[str] = "all",
    image_size: int = 64,
    grey: bool = False,
    precision: str = None,
    keep: str = "",
) -> Lesson:
    """Return the Lesson of a notebook. Introduced in notebook 01.

    notebook: the stem of its file name, such as "02_dense_baseline".
    profile: "quick" or "full"; the environment variable LAB_PROFILE wins.
    names: "all" data sets of the profile, or a list of names and of paths of folders.
    seeds: one training run for each; in the quick profile only the first.
    retrain: train again although finished runs are there.
    classes: "all", or a list of the classes to keep.
    image_size, grey: how the pictures of a folder are read.
    precision: of all trainings, see `Recipe`; None leaves it to the recipes.
    keep: a folder for new runs, see `plumbing.keeping`.
    Raises LabError for what cannot be used of these.
    """
    profile = parameters.profile(profile, DATASETS)
    parameters.check_seeds(seeds)
    names = parameters.names(names, DATASETS[profile])
    pd.set_option("display.max_colwidth", 120)
    kept = parameters.names(classes, None, "CLASSES")
    data_sets = [datasets.load(name, kept, image_size, grey) for name in names]
    called = [dataset.name for dataset in data_sets]
    if twice := {name for name in called if called.count(name) > 1}:
        raise LabError(f"Two data sets are called {twice.pop()}: rename one folder.")
    lesson = Lesson(notebook, profile, data_sets, list(seeds), retrain, precision)
    keeping.begin(keep, lesson.runs_folder)
    titles = ", ".join(dataset.title for dataset in lesson.datasets)
    ours = lesson.output == ROOT
    where = "figures/ and report/generated/" if ours else relative(lesson.output)
    print(f"profile {profile}; data sets: {titles}; writing to {where}")
    return lesson


class Lesson(Output):
    """What a notebook reads and writes. Everything it saves is listed by `finish`."""

    def __init__(self, notebook, profile, data_sets, seeds, retrain, precision=None):
        self.profile, self.datasets, self.retrain = profile, data_sets, retrain
        self.precision = precision
        quick = profile == "quick"
        self.seeds = seeds[:1] if quick else seeds
        self.retrained = set()  # names of jobs of studies
        self.epochs = QUICK_EPOCHS if quick else None
        top = ROOT / "build" / "quick" if quick else ROOT
        self.runs_folder = top / "runs" if quick else top / "data" / "runs"
        # What is committed is replaced by all of it, or not at all.
        missing = [dataset.name for dataset in data_sets if not dataset.available]
        if not (quick or "fer2013" in missing or sources.found("fer2013new.csv")):
            missing.append("fer_plus")
        names = ["quick"] * quick + [dataset.name for dataset in data_sets]
        if [dataset.name for dataset in data_sets] == DATASETS[profile]:
            names = ["without", *missing] if missing else []
        super().__init__(
            notebook,
            ROOT / "build" / "-".join(names)[:100] if names else top,
            data_sets,
        )

    def train(self, jobs: list[Job], dataset: Dataset) -> Seeds:
        """Return the Seeds of a network on a data set, one run for each of SEEDS:
        loaded, or trained now.

        jobs: those of the network, for one data set or for several. A data set that has
            none gets those of the first one, and a seed that has none the job of the
            first seed; see `adapted`. While some, but not all seeds of a new recipe are
            finished, the runs of the recipe before are returned; `make retrain
            RUNS=missing` and RETRAIN go on.
        """
        own = dataset.name if dataset.name in {job.dataset for job in jobs} else None
        mine = [job for job in jobs if job.dataset == (own or jobs[0].dataset)]
        known = {job.seed: job for job in mine}
        jobs = [
            known.get(seed)
            or replace(mine[0], seed=seed, weights=False, corrupted=False)
            for seed in self.seeds
        ]
        jobs = [adapted(job, dataset, self.epochs, self.precision) for job in jobs]
        jobs = jobs if own else [replace(job, corrupted=False) for job in jobs]
        ready = [run for run in map(self._stored(dataset), jobs) if run]
        aside = waiting(self.runs_folder)
        waits = any(run.path.is_relative_to(aside) for run in ready)
        folder = self.runs_folder / dataset.name / jobs[0].model / "main"
        before, _ = headline(folder, dataset)
        if before and waits and len(ready) < len(jobs) and not self.retrain:
            print(
                f"{jobs[0].label} on {dataset.title}: {len(ready)} of {len(jobs)}"
                " seeds of a new recipe are trained; these runs are of the recipe"
                " before. make retrain RUNS=missing, or RETRAIN = True, trains the"
                " others."
            )
            return self._note(before)
        again = self.retrain and dataset.available
        return self._note(engine.train(jobs, dataset, self.runs_folder, again))

    def study(
        self, points: dict, dataset: Dataset, train: bool | None
    ) -> dict[str, dict[str, Seeds]]:
        """Return {factor: {point: Seeds}} for {factor: {point: jobs}}, as
        `recipes.study_jobs` makes them.

        In the quick profile the first seed is used. Stored runs are loaded; a missing
        one is trained where `train` is true, and in the quick profile, else left out; a
        point with two finished seeds is shown, whatever others are planned. train=None
        is for a study that another notebook trains: nothing is trained again. Without
        its base a study is empty.
        """
        seeds = {}  # of each variant: a point may stand in several factors
        for jobs in (jobs for named in points.values() for jobs in named.values()):
            if jobs[0].variant not in seeds:
                seeds[jobs[0].variant] = self._point(jobs, dataset, train)
        missing = sum(not point for point in seeds.values())
        seconds = sum(len(point) * point.seconds() for point in seeds.values() if point)
        line = f"{dataset.title}: {sum(map(len, seeds.values()))} runs, trained for"
        line += f" {seconds / 60:.0f} minutes"
        if missing:
            trainer = "TRAIN_STUDY = True would train"
            trainer = "an earlier notebook trains" if train is None else trainer
            line += f"; {missing} point{'s' * (missing != 1)} left out, which {trainer}"
        if seeds:
            print(line)
        factors = {
            factor: {
                name: self._note(seeds[jobs[0].variant])
                for name, jobs in named.items()
                if seeds[jobs[0].variant]
            }
            for factor, named in points.items()
        }
        if not seeds.get(BASE, True):
            return {}
        return {factor: named for factor, named in factors.items() if named}

    def stored(
        self, points: dict[str, list[Job]], dataset: Dataset
    ) -> dict[str, Seeds]:
        """Return {point: Seeds} of those of the points {point: jobs} whose runs are all
        finished; nothing is trained.
        """
        finished = {}
        for name, jobs in points.items():
            jobs = [adapted(job, dataset, None, self.precision) for job in jobs]
            runs = Seeds(map(self._stored(dataset), jobs))
            if all(runs):
                finished[name] = self._note(runs)
        line = f"{dataset.title}: variants trained: {len(finished)} of {len(points)}"
        rest = "; make retrain RUNS=missing trains the rest"
        if points:
            print(line + rest * (len(finished) < len(points)))
        return finished

    def finished(
        self, dataset: Dataset, names: tuple[str, ...] = tuple(MODEL_TITLES)
    ) -> dict[str, Seeds]:
        """Return {model: Seeds} of the headline runs of a data set, of the models
        `names`, in their order.

        In the quick profile what is missing is trained first, in seconds. Runs on other
        images than those that are here, and of another recipe than the newest run, are
        left out.
        """
        networks = {}
        for model in names:
            folder = self.runs_folder / dataset.name / model / "main"
            seeds, others = headline(folder, dataset)
            if others:
                print(
                    f"{model} on {dataset.title}: {others} run{'s' * (others != 1)} of"
                    " other images or another recipe left out."
                )
            main = [job for job in plan().values() if job.label == model]
            if main and not seeds and self.profile == "quick":
                seeds = self.train(main, dataset)
            if seeds:
                networks[model] = self._note(seeds)
        if not networks:
            print(
                f"No network has a finished run on {dataset.title} yet: run notebooks"
                " 02 to 04 first."
            )
        return networks

    def _stored(self, dataset):
        return lambda job: engine.stored(job, dataset, self.runs_folder)

    def _point(self, jobs, dataset, train):
        """Return the Seeds of one point of a study; empty where too few are there."""
        quick = self.profile == "quick"
        jobs = jobs[:1] if quick else jobs
        jobs = [adapted(job, dataset, self.epochs, self.precision) for job in jobs]
        names = {job.name for job in jobs}  # a point may stand in several studies
        again = train and dataset.available and self.retrain
        again = bool(again) and not names <= self.retrained
        runs = [] if again else list(map(self._stored(dataset), jobs))
        if again or not all(runs) and (train or quick):
            runs = engine.train(jobs, dataset, self.runs_folder, again)
        self.retrained |= names if again else set()
        seeds = Seeds(run for run in runs if run)
        return seeds if len(seeds) >= min(2, len(jobs)) else Seeds()

    def _note(self, seeds):
        for run in seeds:
            self.runs[run.name] = run_sha256(run.path)
        self.numbers |= numbers_of(seeds)
        return seeds

    def save_confusion(self, run: Run, dataset: Dataset) -> np.ndarray:
        """Write the confusion matrix of a run on the test images as .csv and a picture
        of it; return it, integers (classes, classes), a row a true class.
        """
        name = f"confusion_{dataset.name}_{run.record['model']}"
        matrix = metrics.confusion(*run.test())
        self.save_matrix(matrix, dataset.classes, name)
        title = f"{run.title} on {dataset.title}"
        caption = figures.confusion_caption(matrix, dataset.classes, title)
        picture = figures.confusion(matrix, dataset.classes, title)
        self.save_figure(picture, name, caption)
        return matrix

    @staticmethod
    def normal(networks: Iterable[Seeds]) -> pd.DataFrame:
        """Return the table of `tables.normal`: is the first run of each of some Seeds
        like the seeds that came with the repository?
        """
        return tables.normal(networks, json.loads(EXPECTED.read_text()))

    def finish(self, hand_back_gpu: bool = False) -> None:
        """Write the notebook's numbers and captions, and print the list of all files
        written.

        hand_back_gpu: in Colab, give the runtime back afterwards; what was not
            downloaded is lost.
        """
        super().finish(self.datasets, self.profile)
        if hand_back_gpu:
            hand_back()

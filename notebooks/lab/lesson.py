"""One notebook at work: its profile and data sets, and all that it writes."""
import csv
import io
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from . import datasets, evaluation, plots, training
from .backend import environment, hand_back
from .files import ROOT, LabError, relative, sha256, write, writing
from .fingerprint import architecture, fingerprint
from .jobs import BASE, DATA_SETS, SELDOM, Recipe
from .plan import job_of, plan
from .runs import label, read
from .screen import clock

DATASETS = {"quick": ["digits"], "full": list(DATA_SETS)}  # what "all" means
MODELS = ("dense", "one_conv", "two_conv", "improved")  # in the order of the story
QUICK_EPOCHS = 3
EXPECTED = ROOT / "data" / "expected.json"  # the accuracies of our seeds, written by tools/report.py
PLAIN_PDF = {"CreationDate": None, "Creator": None, "Producer": None}  # an unchanged figure is an unchanged file


def setup_line():
    """Return one line for the Setup cell: versions, device, profile."""
    facts = environment()
    profile = os.environ.get("LAB_PROFILE")
    return (f"Python {facts['python']} · TensorFlow {facts['backend_version']} · Keras {facts['keras']}"
            f" · {facts['device']}, {facts['threads']} CPU threads · profile "
            + (f"{profile} (from LAB_PROFILE)" if profile else "as set below"))


def start(notebook, profile="full", chosen="all", seeds=(0,), retrain=False, classes="all", image_size=64, grey=False):
    """Return the Lesson of a notebook. Introduced in notebook 01.

    notebook: the stem of its file name, such as "02_dense_baseline".
    profile: "quick" or "full"; the environment variable LAB_PROFILE, where it is set, wins.
    chosen: "all" data sets of the profile, or a list of names and of paths of folders of pictures.
    seeds: one training run for each; in the quick profile only the first.
    retrain: train again although finished runs are there.
    classes: "all", or a list of the classes to keep.
    image_size, grey: how the pictures of a folder are read.
    Raises LabError for a profile or a data set that does not exist.
    """
    profiles = " or ".join(map(repr, DATASETS))
    for value in (profile, os.environ.get("LAB_PROFILE") or profile):
        if value not in DATASETS:
            raise LabError(f"There is no profile {value!r}: set PROFILE (or LAB_PROFILE) to {profiles}.")
        profile = value
    if not isinstance(seeds, (list, tuple)) or not seeds or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise LabError(f"SEEDS is {seeds!r}: set it to a list of whole numbers such as [0, 1, 2].")
    names = DATASETS[profile] if chosen == "all" else [chosen] if isinstance(chosen, str) else list(chosen)
    if not names:
        raise LabError('DATASETS is empty: set it to "all" or to a list such as ["fashion_mnist"].')
    pd.set_option("display.max_colwidth", 120)
    kept = None if classes == "all" else [classes] if isinstance(classes, str) else list(classes)
    found = [datasets.load(name, kept, image_size, grey) for name in names]
    whole = [dataset.name for dataset in found] == DATASETS[profile]
    lesson = Lesson(notebook, profile, found, list(seeds), retrain, whole)
    print(f"profile {profile}; data sets: {', '.join(d.title for d in lesson.datasets)}; "
          f"writing to {relative(lesson.output) if lesson.output != ROOT else 'figures/ and report/generated/'}")
    return lesson


class Lesson:
    """What a notebook reads and writes. Everything it saves is listed by `finish`."""

    def __init__(self, notebook, profile, chosen, seeds, retrain, whole):
        self.notebook, self.profile, self.datasets, self.retrain = notebook, profile, chosen, retrain
        self.seeds = seeds[:1] if profile == "quick" else seeds
        self.epochs = QUICK_EPOCHS if profile == "quick" else None
        top = ROOT / "build" / "quick" if profile == "quick" else ROOT
        missing = [dataset.name for dataset in chosen if not dataset.available]
        names = ["quick"] * (profile == "quick") + [dataset.name for dataset in chosen]
        if whole:  # what is committed is replaced by all of it, or not at all
            names = ["without", *missing]
        self.output = top if whole and not missing else ROOT / "build" / "-".join(names)[:100]
        self.runs_folder = top / "runs" if profile == "quick" else top / "data" / "runs"
        self.numbers, self.captions, self.tables, self.files, self.runs = {}, {}, {}, [], {}

    @property
    def number(self):
        """The notebook's number, "01" to "05", which begins the names of its files."""
        return self.notebook[:2]

    # --- runs

    def train(self, jobs, dataset):
        """Return the finished runs, one for each of SEEDS, of a network on a data set: loaded or trained now.

        jobs: those of the network, for one data set or for several. A data set that has none gets those of the first
        one, and a seed that has none the job of the first seed; see `adapted`. While some, but not all seeds of a new
        recipe are finished, the runs of the recipe before are returned; `make retrain RUNS=missing` and RETRAIN go on.
        """
        mine = [job for job in jobs if job.dataset == dataset.name] or [job for job in jobs if job.dataset == jobs[0].dataset]
        seeds = {job.seed: job for job in mine}
        chosen = [adapted(seeds.get(seed) or replace(mine[0], seed=seed, weights=False), dataset, self.epochs) for seed in self.seeds]
        ready = [run for job in chosen if (run := training.stored(job, dataset, self.runs_folder))]
        wait = any(run.path.is_relative_to(training.waiting(self.runs_folder)) for run in ready)
        if wait and len(ready) < len(chosen) and not self.retrain:
            print(f"{chosen[0].label} on {dataset.title}: {len(ready)} of {len(chosen)} seeds of a new recipe are trained; these runs "
                  "are of the recipe before. make retrain RUNS=missing, or RETRAIN = True, trains the others.")
            return self._note(headline(self.runs_folder / dataset.name / chosen[0].model / "main", dataset)[0])
        return self._note(training.train(chosen, dataset, self.runs_folder, self.retrain and dataset.available))

    def study(self, points, dataset, train):
        """Return {factor: {point: runs}} for {factor: {point: jobs}}, as `lab.jobs.study_jobs` makes them.

        In the quick profile the first seed is used. Stored runs are loaded; a missing one is trained where `train`
        is true, and in the quick profile, else left out; a point with two finished seeds is shown, whatever others are
        planned. train=None is for a study that another notebook trains: nothing is trained again. Without its base a
        study is empty.
        """
        found, result = {}, {factor: {} for factor in points}
        for factor, name, jobs in [(f, n, jobs) for f, ones in points.items() for n, jobs in ones.items()]:
            jobs = [adapted(job, dataset, self.epochs) for job in (jobs[:1] if self.profile == "quick" else jobs)]
            variant = jobs[0].variant
            if variant not in found:
                runs = [run for run in self._point(jobs, dataset, train) if run]
                found[variant] = runs if len(runs) >= min(2, len(jobs)) else []
            if found[variant]:
                result[factor][name] = self._note(found[variant])
        runs = [run for point in found.values() for run in point]
        missing = sum(not point for point in found.values())
        print(f"{dataset.title}: {len(runs)} run{'s' * (len(runs) != 1)}, trained for {clock(sum(run.record['seconds']['train'] for run in runs))}"
              + f"; {missing} point{'s' * (missing != 1)} left out, which {'an earlier notebook trains' if train is None else 'TRAIN_STUDY = True would train'}"
              * bool(missing))
        return {factor: points for factor, points in result.items() if points} if found.get(BASE, True) else {}

    def stored(self, points, dataset):
        """Return {point: runs} of those of the points {point: jobs} whose runs are all finished; nothing is trained."""
        found = {name: [training.stored(adapted(job, dataset), dataset, self.runs_folder) for job in jobs] for name, jobs in points.items()}
        finished = {name: self._note(runs) for name, runs in found.items() if all(runs)}
        print(f"{dataset.title}: {len(finished)} of {len(points)} networks are trained")
        return finished

    def _point(self, jobs, dataset, train):
        """Return the runs of one point of a study, None for each that is missing."""
        again = bool(train) and dataset.available and self.retrain
        runs = [] if again else [training.stored(job, dataset, self.runs_folder) for job in jobs]
        if again or not all(runs) and (train or self.profile == "quick"):
            runs = training.train(jobs, dataset, self.runs_folder, again)
        return runs

    def finished(self, dataset, names=MODELS):
        """Return {model: runs} of the headline runs of a data set, of the models `names`, in the order of the story.

        In the quick profile what is missing is trained first, in seconds. Runs on other images than those that are
        here, and of another recipe than the newest run, are left out.
        """
        found = {}
        for model in names:
            runs, others = headline(self.runs_folder / dataset.name / model / "main", dataset)
            if others:
                print(f"{label(model, 'main')} on {dataset.title}: {others} run{'s' * (others != 1)} of other images or another recipe left out.")
            if not runs and self.profile == "quick":
                runs = self.train([job for job in plan().values() if job.model == model and job.variant == "main"], dataset)
            if runs:
                found[model] = self._note(runs)
        if not found:
            print(f"No network has a finished run on {dataset.title} yet: run notebooks 02 to 04 first.")
        return found

    def _note(self, runs):
        for run in runs:
            self.runs[run.name] = run_sha256(run.path)
        self.numbers |= run_numbers(runs)
        return runs

    @staticmethod
    def normal(runs):
        """Return a table that compares the first of each list of runs with the seeds that came with the repository.

        runs: lists of runs, one a network and data set. The interval is `evaluation.prediction_interval`, in percent.
        """
        expected, rows = json.loads(EXPECTED.read_text()), {}
        for record in (seeds[0].record for seeds in runs):
            name, accuracy = f"{record['dataset']}/{record['model']}", record["metrics"]["test"]["accuracy"]
            known = expected.get(name, {"setting": None})
            rows[name] = row = dict.fromkeys(("here", "our mean", "our seeds", "a further run", "verdict"), "")
            row["here"] = f"{100 * accuracy:.1f}"
            if known["setting"] != setting(record):
                row["verdict"] = "nothing to compare with: another recipe or other data"
                continue
            ours = known["accuracies"]
            row |= {"our mean": f"{100 * np.mean(ours):.1f}", "our seeds": str(len(ours)), "verdict": "one seed gives no interval"}
            if len(ours) > 1:
                low, high = evaluation.prediction_interval(ours)
                row["a further run"] = f"{100 * low:.1f} to {100 * high:.1f}"
                row["verdict"] = "normal" if low <= accuracy <= high else "not normal: look for what differs"
            if record["weights_sha256"] in known["weights"]:
                row["verdict"] = "one of ours"
        return pd.DataFrame(rows).T

    # --- results

    def save_numbers(self, prefix, values):
        """Keep {name: number}, which the report prints with \\result{prefix.name}; six decimals of fractions."""
        for name, value in values.items():
            self.numbers[f"{prefix}.{name.replace(' ', '_')}"] = int(value) if value == int(value) else round(float(value), 6)

    def save_figure(self, figure, name, caption):
        """Write figures/NN_name.pdf and .png, show the figure, and keep its caption for the report."""
        stem = self.output / "figures" / f"{self.number}_{name}"
        for ending, metadata in ((".pdf", PLAIN_PDF), (".png", {"Software": None})):
            with writing(stem.with_suffix(ending)) as part:
                figure.savefig(part, metadata=metadata)
            self.files.append(stem.with_suffix(ending))
        self.captions[stem.name] = caption
        plots.show(figure)

    def save_table(self, frame, name, caption):
        """Write a DataFrame as a LaTeX table, keep its caption, and return it to be shown."""
        if frame.empty:
            return frame
        path = self.output / "report" / "generated" / f"{self.number}_{name}.tex"
        cells = frame.rename_axis(frame.index.name or "").reset_index()
        cells = cells.map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
        kinds = ["r" if cells[name].str.fullmatch(r"[-+\d.,]*").all() else
                 r">{\raggedright\arraybackslash}p{0.28\textwidth}" if cells[name].str.len().max() > 34 else "l" for name in cells]
        styler = cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        write(path, styler.to_latex(hrules=True, column_format="".join(kinds)))
        self.files.append(path)
        self.tables[path.stem] = caption
        return frame

    def save_confusion(self, run, dataset):
        """Write the confusion matrix of a run on the test images: integers as .csv, and a picture."""
        name = f"confusion_{dataset.name}_{run.record['model']}"
        matrix = evaluation.confusion(*run.test())
        path = self.output / "figures" / f"{self.number}_{name}.csv"
        write(path, confusion_csv(matrix, dataset.classes))
        self.files.append(path)
        worst = [f" The most frequent error takes {true} for {said}, {count} times."
                 for true, said, count in evaluation.largest_confusions(matrix, dataset.classes, n=1)]
        title = f"{plots.MODEL_TITLES[run.record['model']]} on {dataset.title}"
        self.save_figure(plots.confusion(matrix, dataset.classes, title), name,
                         f"{title}: counts of test images, colours by the share of the true class." + "".join(worst))
        return matrix

    def finish(self, hand_back_gpu=False):
        """Write the notebook's numbers and captions, and print the list of all files written.

        hand_back_gpu: in Colab, give the runtime back afterwards; what was not downloaded is lost.
        """
        path = self.output / "report" / "generated" / f"{self.notebook}.json"
        content = {"datasets": [dataset.name for dataset in self.datasets], "numbers": dict(sorted(self.numbers.items())),
                   "figures": self.captions, "tables": self.tables}
        write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        self.files.append(path)
        trace = {"output": relative(self.output), "runs": self.runs,
                 "files": {relative(file): sha256(file) for file in self.files}}
        write(ROOT / "build" / "trace" / self.profile / f"{self.notebook}.json", json.dumps(trace, indent=1))
        for file in self.files:
            print(relative(file))
        if hand_back_gpu:
            hand_back()


def adapted(job, dataset, epochs=None):
    """Return the job for a data set that may be another one: at most `epochs`, and small batches for few images.

    Batches are halved until an epoch has 16 of them, down to 16 images; the learning rate of SGD with them.
    """
    recipe, batch = job.recipe, job.recipe.batch_size
    while dataset.available and batch > 16 and batch * 16 > len(dataset.splits["training"]):
        batch //= 2
    rate = recipe.learning_rate * (batch / recipe.batch_size if recipe.optimizer.endswith("SGD") else 1)
    recipe = replace(recipe, epochs=min(recipe.epochs, epochs or recipe.epochs), batch_size=batch, learning_rate=rate)
    return replace(job, dataset=dataset.name, recipe=recipe)


def headline(folder, dataset=None):
    """Return (runs, others): the finished runs in a folder, one per seed, that share the newest one's `setting`, and
    how many do not.

    dataset: where its images are here, runs on other images or other splits are among the others.
    """
    found = [run for run in map(read, sorted(Path(folder).glob("seed-*"))) if run]
    content = (dataset.sha256, dataset.split_sha256) if dataset and dataset.available else None
    fitting = [run for run in found if content in (None, (run.record["data_sha256"], run.record["split_sha256"]))]
    newest = max((run.record for run in fitting), key=lambda record: record["finished_at"], default=None)
    runs = [run for run in fitting if setting(run.record) == setting(newest)]
    return runs, len(found) - len(runs)


def setting(record):
    """Return the SHA-256 of what two runs have in common that differ in nothing but the seed and the machine."""
    recipe = {name: value for name, value in record["recipe"].items() if value is not None}
    return sha256(json.dumps([recipe, record["parameters"], record["data_sha256"], record["split_sha256"]], sort_keys=True))


def run_sha256(path):
    """Return the SHA-256 of a run's record and history (the record holds the hashes of the rest)."""
    return sha256(Path(path) / "run.json", Path(path) / "history.csv")


def confusion_csv(matrix, classes):
    """Return a confusion matrix as text: a header, then a row a true class."""
    text = io.StringIO()
    rows = [["true\\predicted", *classes]] + [[name, *row] for name, row in zip(classes, matrix.tolist())]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def run_numbers(runs):
    """Return {key: value} of the runs of one model on one data set, the mean over their seeds.

    Keys begin with dataset.model, followed by the variant where it is not "main".
    """
    records = [run.record for run in runs]
    first = records[0]
    parts = [first["dataset"], first["model"]] + ([first["variant"]] if first["variant"] != "main" else [])
    values = {
        "seeds": len(runs),
        "parameters": first["parameters"],
        "epochs_run": float(np.mean([record["epochs_run"] for record in records])),
        "best_epoch": float(np.mean([record["best_epoch"] for record in records])),
        "seconds.train": float(np.mean([record["seconds"]["train"] for record in records])),
    }
    for split, metrics in first["metrics"].items():
        for metric in [one for one in metrics if all(one in record["metrics"].get(split, {}) for record in records)]:
            values[f"{split}.{metric}"] = float(np.mean([r["metrics"][split][metric] for r in records]))
        if len(runs) > 1 and f"{split}.accuracy" in values:
            values[f"{split}.accuracy_std"] = float(np.std([r["metrics"][split]["accuracy"] for r in records], ddof=1))
    if "test" in first["metrics"]:
        values["test.accuracy_low"], values["test.accuracy_high"] = evaluation.wilson(
            values["test.accuracy"], len(runs[0].predictions["test_labels"]))
    return {".".join([*parts, key]): value for key, value in values.items()}


def trained(run, dataset):
    """Return the network of a stored run, built by the function of its `model` cell, with its stored weights.

    Raises LabError where the run was stored without weights, or they are missing or altered, and where the function
    has changed since.
    """
    record, job = run.record, job_of(run.record)
    content = replace(dataset, sha256=record["data_sha256"], split_sha256=record["split_sha256"])
    if fingerprint(job, content) != record["fingerprint"]:
        raise LabError(f"The network of {run.name} is not the one that lab/models.py builds now: run make sync, or train it again.")
    return run.load_weights(training.build(job.build, dataset, job.recipe), dataset.classes)


def hyper_parameters(run):
    """Return the recipe of a run as a table: one row a hyper-parameter, defaults included, but for `jobs.SELDOM`."""
    recipe = asdict(Recipe(**run.record["recipe"]))
    values = {name.replace("_", " "): _words(value) for name, value in recipe.items() if value is not None or name not in SELDOM}
    return pd.DataFrame({"value": values}).rename_axis("hyper-parameter")


def layer_table(model):
    """Return a table of a model's layers: what we set, output shape without the batch, parameters."""
    rows = []
    for (kind, settings, _, _), layer in zip(architecture(model), model.layers):
        rows.append({"layer": kind, "settings": _words(settings), "output": " × ".join(map(str, layer.output.shape[1:])),
                     "parameters": f"{layer.count_params():,}"})
    return pd.DataFrame(rows).set_index("layer")


def _words(value):
    """Return a setting as a reader writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')}: {_words(one)}" for key, one in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return " × ".join(str(one) for one in value if one != {})  # an initialiser without arguments is its name
    if isinstance(value, float):
        return f"{value:.4g}"
    return {"None": "none", "True": "yes", "False": "no"}.get(str(value), str(value).replace("_", " "))

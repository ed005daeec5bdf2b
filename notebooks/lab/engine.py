"""Jobs become runs: found, resumed or trained, and stored."""

import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

import pandas as pd

from . import training
from .datasets import Dataset
from .methods import feeding
from .metrics import measure
from .plan import job_of
from .plumbing import records, storage
from .plumbing.backend import enough_memory, keras
from .plumbing.checkpoints import Checkpoints
from .plumbing.files import ROOT, LabError, alone, relative
from .plumbing.fingerprint import PROTOCOL, fingerprint, pflop
from .plumbing.screen import Line
from .recipes import Job
from .runs import Run, Seeds, read


@dataclass
class Result:
    """What `fit` returns and `keep` stores; weights: None where the job keeps none."""

    record: dict
    history: pd.DataFrame
    predictions: dict
    weights: list
    classes: tuple


def train(
    jobs: list[Job],
    dataset: Dataset,
    folder: Path | str,
    retrain: bool = False,
    seeds: list[Job] | None = None,
    trainer: Callable[..., Result] | None = None,
) -> Seeds:
    """Return the Seeds of some jobs on one data set: found, resumed or trained, one
    after the other.

    jobs: what is wanted; folder: where runs are stored; seeds: all jobs of the network,
        if `jobs` are some of them; trainer: called as `fit` is, trains elsewhere.

    A run in `folder` with the same fingerprint is loaded, unless `retrain`. Training
    writes checkpoints; started again after an interruption, it goes on from the last. A
    headline network that stands in `folder` with another recipe stays there until every
    seed that is asked for is finished: until then these wait in the folder `next`
    beside it, and then they move together.

    Raises LabError where the images are needed and are not here, or nothing can be
    written.
    """
    for job in jobs:
        _train(job, dataset, folder, retrain, trainer or fit)
    wanted, folder = [*(seeds or []), *jobs], Path(folder)
    runs = {job.name: stored(job, dataset, folder) for job in wanted}
    elsewhere = [
        name for name, run in runs.items() if run and run.path != folder / name
    ]
    if all(runs.values()) and elsewhere:
        what = f"move {relative((folder / jobs[0].name).parent)}"
        with alone(what, f"{jobs[0].label} on {dataset.title}"):
            for job in wanted:
                storage.move(stored(job, dataset, folder).path, folder / job.name)
        runs = {job.name: read(folder / job.name) for job in wanted}
    return Seeds(runs[job.name] for job in jobs)


def _train(job, dataset, folder, retrain, trainer):
    """Train one job and store its run, unless a finished one is found in `folder` or in
    `next` beside it; with `retrain`, only one in `next` is not trained again.
    """
    before = stored(job, dataset, folder)
    if before and not (retrain and before.path == Path(folder) / job.name):
        return print(before.summary() + ", loaded")
    line, who = Line(), f"{job.label} on {dataset.title}, seed {job.seed}"
    with alone(fingerprint(job, dataset), who):
        run = stored(job, dataset, folder)
        if run and (not before or run.record != before.record):  # trained meanwhile
            return print(run.summary() + ", loaded")
        run = keep(trainer(job, dataset, line.show), folder)
    line.show(run.summary() + ", trained", last=True)


def stored(job: Job, dataset: Dataset, folder: Path | str) -> Run | None:
    """Return the finished Run of a job, with its test answers and weights where it asks
    for them, in a folder of runs or in `next` beside it; or None.
    """
    mark = fingerprint(job, dataset)
    path = storage.finished(folder, job.name, mark, job.test, job.weights)
    return path and (read(path) or read(Path(folder) / job.name))


def keep(result: Result, folder: Path | str) -> Run:
    """Store what `fit` returns in a folder of runs, delete the checkpoints that it
    needed, and return the Run.

    A headline run of another recipe than the one that stands there goes into the folder
    `next` instead.
    """
    record, path = result.record, storage.place(folder, result.record)
    content = record, result.history, result.predictions
    storage.store(path, *content, result.weights, result.classes)
    checkpoints(record["fingerprint"]).clear()
    return read(path) or Run(path, *content)


def checkpoints(mark: str) -> Checkpoints:
    """Return the Checkpoints of the run that a fingerprint names."""
    return Checkpoints(ROOT / "build" / "checkpoints" / mark[:16])


def fit(
    job: Job, dataset: Dataset, tell: Callable[[str], None] = lambda text: None
) -> Result:
    """Train one job and return what it leaves, a `Result`, for `keep`; training prints
    nothing and writes only checkpoints.

    tell: is handed a line of text before each epoch.

    Training goes on from the newest checkpoint; a checkpoint of another machine or
    version is used, and the record says so. When the training has ended, training and
    validation images are predicted (the latter unless trained on), and, where the job
    says so, those of test, once. Nothing here keeps two processes from training the
    same job; `train` does.

    Raises LabError without images or memory, and as `training.check` does.
    """
    if not dataset.available:
        raise LabError(
            f"{job.model} on {dataset.title} has no finished run, and the images to"
            " train it are not here."
        )
    mark, recipe, commit = fingerprint(job, dataset), job.recipe, storage.git_commit()
    with enough_memory(
        f"Not enough memory for {job.model} on {dataset.title} with a batch size of"
        f" {recipe.batch_size}: set batch_size={max(1, recipe.batch_size // 2)} in its"
        " recipe, restart the kernel, and run again."
    ):
        training.check(job, dataset)
        network = training.build(job.build, dataset, recipe, job.seed)
        images, labels = feeding.training_images(dataset, recipe, job.seed)
        feeding.whiten(network, images, dataset, recipe)
        state = training.run_epochs(
            network, (images, labels), dataset, job, checkpoints(mark), tell
        )
        start = time.perf_counter()
        predictions = feeding.predict(network, (images, labels), dataset, job)
    history = pd.DataFrame(state["history"], columns=list(state["history"][0]))
    epochs, (*earlier, facts) = len(history), state["environments"]
    record = {
        **records.asked(job, dataset),
        "fingerprint": mark,
        "protocol": PROTOCOL,
        "parameters": int(network.count_params()),
        "pflop": pflop(network, len(images), epochs),
        "epochs_run": epochs,
        "best_epoch": state["best"] + 1,
        "seconds": {
            "train": round(epochs * float(history["seconds"].median()), 1),
            "compile": round(state["compile"], 1),
            "evaluate": round(time.perf_counter() - start, 1),
        },
        "shared_machine": state["shared"],
        "environment": facts | ({"earlier": earlier} if earlier else {}),
        "metrics": records.all_metrics(predictions, measure),
        "weights_sha256": storage.weights_sha256(network),
        "git_commit": commit,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    weights = network.get_weights() if job.weights else None
    return Result(record, history, predictions, weights, dataset.classes)


def trained(run: Run, dataset: Dataset) -> keras.Model:
    """Return the network of a stored run, built by the function of its `model` cell,
    with its stored weights.

    Raises LabError where the run was stored without weights, or they are missing or
    altered, and where the function has changed since.
    """
    record, job = run.record, job_of(run.record)
    sha256, split_sha256 = record["data_sha256"], record["split_sha256"]
    content = replace(dataset, sha256=sha256, split_sha256=split_sha256)
    if fingerprint(job, content) != record["fingerprint"]:
        raise LabError(
            f"The network of {run.name} is not the one that lab/models.py builds now,"
            " or it was trained on other images (of another size, or grey): load the"
            " images as they were, run make sync, or train it again."
        )
    network = training.build(job.build, dataset, job.recipe)
    return storage.load_weights(run.path, record, network, dataset.classes)

"""The plan of trainings: list it, and work through it."""

import interrupt  # noqa: F401

import argparse
import fnmatch
import itertools
import json
import sys
import time
from datetime import datetime, timezone
from functools import cache, partial
from pathlib import Path

import numpy as np

import workers
from lab import datasets, engine, training
from lab.lesson import Lesson
from lab.plan import plan
from lab.plumbing import reading
from lab.plumbing.backend import apart, batches
from lab.plumbing.building import built
from lab.plumbing.files import LabError, relative, write
from lab.plumbing.fingerprint import operations
from lab.runs import Seeds, read
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs"
BATCH = ROOT / "build" / "retrain.json"  # what is trained again, since when
# Operations a second of training on a T4: WideResNet-28-10, 154 and 299 images a second
# (github.com/ceshine/apex_pytorch_cifar_experiment), at 31.5 GFLOP an image.
T4 = {"float32": 4.9e12, "mixed_float16": 9.4e12}
# So many images, at least, are timed to estimate a cost; three batches, where that is
# more.
TIMED = 2048


def matching(jobs, patterns):
    """Return the jobs whose names fit one of the patterns, in the order of the
    patterns: "cifar10/improved", "*/main/*".

    Raises LabError for a pattern that fits none.
    """
    by_name = {}
    for pattern in patterns:
        fitting = {job.name: job for job in jobs if fits(job.name, pattern)}
        if not fitting:
            raise LabError(
                f"No job is called {pattern}: make plan lists them all. Only make"
                " retrain knows the words grader and missing, missing as the first."
            )
        by_name |= fitting
    return list(by_name.values())


def fits(name, pattern):
    """Return whether a run's name, or the beginning of it, fits a pattern."""
    pattern = pattern.strip("/")
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"{pattern}/*")


def known(name):
    """Return the data set of a name, with or without its images."""
    return datasets.KNOWN.get(name) or datasets.load(name)


def state(job):
    """Return "finished", "waiting" in data/next for the other seeds, "other" for a run
    of another recipe, or "missing".
    """
    run = engine.stored(job, known(job.dataset), RUNS)
    if run:
        return "finished" if run.path.is_relative_to(RUNS) else "waiting"
    return "other" if read(RUNS / job.name) else "missing"


def images_of(job):
    """Return how many images a job trains on in an epoch; those that an audit leaves
    out are counted.
    """
    dataset = known(job.dataset)
    splits = dataset.splits or reading.read_splits(dataset)
    return int(
        (len(splits["training"]) + len(splits["validation"]) * bool(job.recipe.fit_on))
        * (job.recipe.subset or 1)
    )


def speed(job):
    """Return (seconds of a training step here, operations of one image) of a job,
    measured on random images.
    """
    dataset, recipe = known(job.dataset), job.recipe
    network = training.build(job.build, dataset, recipe, job.seed)
    training.compile_model(network, recipe, images_of(job))
    rng, steps = np.random.default_rng(0), max(3, TIMED // recipe.batch_size)
    pixels = rng.integers(0, 256, (steps * recipe.batch_size, *dataset.shape), np.uint8)
    targets = np.eye(len(dataset.classes), dtype="float32")[
        rng.integers(0, len(dataset.classes), len(pixels))
    ]
    fed = batches(recipe.batch_size, pixels, targets)
    network.fit(**fed, shuffle=False, verbose=0)
    start = time.perf_counter()
    network.fit(**fed, shuffle=False, verbose=0)
    return (time.perf_counter() - start) / steps, operations(network)


@cache
def forward(build, name, arguments):
    """Return the operations of one image of a data set in a network."""
    dataset = known(name)
    network = built(build, dataset.shape, len(dataset.classes), json.loads(arguments))
    return operations(network)


def cost(job):
    """Return the operations of a job's training."""
    arguments = json.dumps(job.recipe.model_arguments)
    once = apart(forward, job.build, job.dataset, arguments)
    return 3 * once * images_of(job) * job.recipe.epochs


def show(patterns):
    """Print a line for each network and variant, and what the missing runs would cost
    here.
    """
    jobs, total, measured = matching(plan().values(), patterns or ["*"]), 0.0, {}
    on_t4 = 0.0
    for name, group in itertools.groupby(
        jobs, key=lambda job: job.name.rsplit("/", 1)[0]
    ):
        group = list(group)
        states = {job.seed: state(job) for job in group}
        missing = [job for job in group if states[job.seed] in ("missing", "other")]
        words = [
            f"{len(seeds)} {word}"
            for word in ("finished", "waiting", "other", "missing")
            if (seeds := [seed for seed, status in states.items() if status == word])
        ]
        line = f"{name:52} {', '.join(words)}"
        if missing:
            recipe = missing[0].recipe
            key = (
                missing[0].build,
                missing[0].dataset,
                str(recipe.model_arguments),
                recipe.batch_size,
                recipe.precision,
            )
            step, once = measured[key] = measured.get(key) or speed(missing[0])
            images = images_of(missing[0])
            seconds = (
                step * -(-images // recipe.batch_size) * recipe.epochs * len(missing)
            )
            pflop = 3 * once * images * recipe.epochs / 1e15
            total += seconds
            on_t4 += (
                pflop * 1e15 / T4.get(recipe.precision, T4["float32"]) * len(missing)
            )
            line += (
                f"; {pflop:.3g} PFLOP and about {seconds / len(missing) / 60:.1f}"
                " minutes a run here"
            )
        print(line, flush=True)
    print(
        f"{len(jobs)} jobs; what is missing would take about {lasting(total)} here, and"
        f" {lasting(on_t4)} on a T4 (an estimate from published rates)"
        if total
        else f"{len(jobs)} jobs, all finished"
    )


def lasting(seconds):
    """Return a time as text, in hours or minutes."""
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes"


def batch(patterns):
    """Return when this command was given first, if it was interrupted, else now."""
    try:
        about = json.loads(BATCH.read_text())
        if about["patterns"] == patterns:
            print(
                f"This goes on with the same command of {about['began']}, which did not"
                f" end. To begin anew, delete {relative(BATCH)}."
            )
            return about["began"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write(BATCH, json.dumps({"patterns": patterns, "began": began}))
    return began


def wanted(patterns, jobs, folder, again):
    """Yield the jobs among those chosen that are still to be trained."""
    began = batch(patterns)
    for job in jobs:
        if not again and folder == RUNS and state(job) in ("finished", "waiting"):
            continue
        run = engine.stored(job, known(job.dataset), RUNS)
        # One that was trained before this command was interrupted is not trained again.
        if not again or not run or run.record["finished_at"] < began:
            yield job


def train(patterns, processes=None, scheduler=None):
    """Train what the patterns name, and store each run as soon as it is finished: one
    after the other, or in so many processes, or on the Dask cluster of a scheduler.
    """
    jobs = list(plan().values())
    only_missing, folder = patterns[:1] == ["missing"], RUNS
    if patterns == ["grader"]:
        folder, only_missing = ROOT / "build" / "grader" / "runs", True
        selection = [job for job in jobs if job.variant == "main" and job.seed == 0]
    else:
        selection = matching(jobs, patterns[only_missing:] or ["*"])
    again, sets = not only_missing, {}

    def here(job):
        """Return the job's data set with its images, which a cluster need not have
        here; or None, and say so.
        """
        if job.dataset not in sets:
            sets[job.dataset] = (
                known(job.dataset) if scheduler else datasets.load(job.dataset)
            )
        dataset = sets[job.dataset]
        if scheduler or dataset.available and dataset.name == job.dataset:
            return dataset
        print(f"{job.name} is left out: its images are not here.")

    def run(job, dataset, trainer=None):
        name = job.name.rsplit("/", 1)[0]
        seeds = [sibling for sibling in jobs if sibling.name.rsplit("/", 1)[0] == name]
        seeds = seeds if folder == RUNS else None
        return engine.train([job], dataset, folder, again, seeds, trainer)[0]

    left = wanted(patterns, selection, folder, again)
    pairs = ((job, dataset) for job in left if (dataset := here(job)))
    if processes is None and scheduler is None:
        runs = [run(*pair) for pair in pairs]
    else:
        tasks = [
            workers.Task(
                job,
                known(job.dataset),
                partial(run, job, known(job.dataset)),
                cost(job),
            )
            for job, _ in pairs
        ]
        sets.clear()  # the workers have their own
        runs = workers.spread(tasks, processes, scheduler)
    BATCH.unlink(missing_ok=True)
    print(
        f"{len(runs)} runs in {folder.relative_to(ROOT)}."
        + (" Next: make reproduce" if runs and folder == RUNS else "")
    )
    if folder != RUNS:
        if not runs:
            raise LabError(
                "No data set is here: make reproduce downloads two of them. Data in"
                " README.md says how to get the third."
            )
        print(Lesson.normal([Seeds([run]) for run in runs]).to_string())


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "list the jobs: finished, missing, and what the missing would cost here"
    listing = commands.add_parser("list", help=text, description=text)
    training_again = commands.add_parser(
        "train",
        usage="%(prog)s [-h] [--workers N | --scheduler URL] [missing | grader]"
        " [PATTERN ...]",
        help="train again what the patterns name, or all",
        description=(
            "Train again what the patterns name, or all. After the word missing, train"
            " only what has no finished run. The word grader alone trains one seed of"
            " each headline network, into build/grader, and gives a verdict on each."
        ),
    )
    spread = training_again.add_mutually_exclusive_group()
    spread.add_argument(
        "--workers", type=int, metavar="N", help="train in N processes of this machine"
    )
    spread.add_argument(
        "--scheduler",
        metavar="URL",
        help="train on the Dask cluster of a scheduler, such as tcp://host:8786",
    )
    for command in (listing, training_again):
        command.add_argument(
            "patterns",
            nargs="*",
            metavar="PATTERN",
            help="names of runs, such as 'cifar10/improved/*'; without any, all runs",
        )
    return made


def main(arguments):
    """Do what the command line asks for."""
    given = parser().parse_args(arguments)
    if given.command == "list":
        show(given.patterns)
    else:
        train(given.patterns, given.workers, given.scheduler)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])

"""The plan of trainings: list it, and work through it."""

import interrupt  # noqa: F401

import argparse
import fnmatch
import itertools
import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from lab import datasets, engine, training
from lab.lesson import Lesson
from lab.plan import plan
from lab.plumbing import reading
from lab.plumbing.backend import batches
from lab.plumbing.files import LabError, write
from lab.plumbing.fingerprint import operations
from lab.runs import Seeds, read
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs"
BATCH = ROOT / "build" / "retrain.json"  # what is trained again, since when
# So many images, at least, are timed to estimate a cost; three batches, where that is
# more.
TIMED = 2048


def matching(jobs, patterns):
    """Return the jobs whose names fit one of the patterns, in the order of the
    patterns: "cifar10/improved", "*/main/*".

    Raises LabError for a pattern that fits none.
    """
    chosen = {}
    for pattern in patterns:
        fitting = {job.name: job for job in jobs if fits(job.name, pattern)}
        if not fitting:
            raise LabError(f"No job is called {pattern}: make plan lists them all.")
        chosen |= fitting
    return list(chosen.values())


def fits(name, pattern):
    """Return whether a run's name, or the beginning of it, fits a pattern."""
    pattern = pattern.strip("/")
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"{pattern}/*")


def known(job):
    """Return the data set of a job, with or without its images."""
    return datasets.KNOWN.get(job.dataset) or datasets.load(job.dataset)


def state(job):
    """Return "finished", "waiting" in data/next for the other seeds, "other" for a run
    of another recipe, or "missing".
    """
    run = engine.stored(job, known(job), RUNS)
    if run:
        return "finished" if run.path.is_relative_to(RUNS) else "waiting"
    return "other" if read(RUNS / job.name) else "missing"


def images_of(job):
    """Return how many images a job trains on in an epoch; those that an audit leaves
    out are counted.
    """
    dataset = known(job)
    splits = dataset.splits or reading.read_splits(dataset)
    return int(
        (len(splits["training"]) + len(splits["validation"]) * bool(job.recipe.fit_on))
        * (job.recipe.subset or 1)
    )


def speed(job):
    """Return (seconds of a training step here, operations of one image) of a job,
    measured on random images.
    """
    dataset, recipe = known(job), job.recipe
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


def show(patterns):
    """Print a line for each network and variant, and what the missing runs would cost
    here.
    """
    jobs, total, measured = matching(plan().values(), patterns or ["*"]), 0.0, {}
    for name, group in itertools.groupby(
        jobs, key=lambda job: job.name.rsplit("/", 1)[0]
    ):
        group = list(group)
        states = {job.seed: state(job) for job in group}
        missing = [job for job in group if states[job.seed] in ("missing", "other")]
        words = [
            f"{len(seeds)} {word}"
            for word in ("finished", "waiting", "other", "missing")
            if (seeds := [seed for seed, one in states.items() if one == word])
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
            step, forward = measured[key] = measured.get(key) or speed(missing[0])
            images = images_of(missing[0])
            seconds = (
                step * -(-images // recipe.batch_size) * recipe.epochs * len(missing)
            )
            cost = 3 * forward * images * recipe.epochs / 1e15
            total += seconds
            line += (
                f"; {cost:.3g} PFLOP and about {seconds / len(missing) / 60:.1f}"
                " minutes a run here"
            )
        print(line, flush=True)
    print(
        f"{len(jobs)} jobs; what is missing would take about {total / 3600:.1f} hours"
        " here"
        if total
        else f"{len(jobs)} jobs, all finished"
    )


def batch(patterns):
    """Return when this command was given first, if it was interrupted, else now."""
    try:
        about = json.loads(BATCH.read_text())
        if about["patterns"] == patterns:
            return about["began"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write(BATCH, json.dumps({"patterns": patterns, "began": began}))
    return began


def train(patterns):
    """Train what the patterns name, one run after the other, each stored as soon as it
    is finished.
    """
    jobs = list(plan().values())
    only_missing, folder = patterns[:1] == ["missing"], RUNS
    if patterns == ["grader"]:
        folder, only_missing = ROOT / "build" / "grader" / "runs", True
        chosen = [job for job in jobs if job.variant == "main" and job.seed == 0]
    else:
        chosen = matching(jobs, patterns[only_missing:] or ["*"])
    runs, sets, began = [], {}, batch(patterns)
    for job in chosen:
        if only_missing and folder == RUNS and state(job) in ("finished", "waiting"):
            continue
        run = engine.stored(job, known(job), RUNS)
        if not only_missing and run and run.record["finished_at"] >= began:
            continue  # it was trained before this command was interrupted
        dataset = sets.get(job.dataset) or sets.setdefault(
            job.dataset, datasets.load(job.dataset)
        )
        seeds = [
            one
            for one in jobs
            if one.name.rsplit("/", 1)[0] == job.name.rsplit("/", 1)[0]
        ]
        if not dataset.available:
            print(f"{job.name} is left out: its images are not here.")
            continue
        runs += engine.train(
            [job], dataset, folder, not only_missing, seeds if folder == RUNS else None
        )
    BATCH.unlink(missing_ok=True)
    print(
        f"{len(runs)} runs in {folder.relative_to(ROOT)}."
        + (" Next: make reproduce" if runs and folder == RUNS else "")
    )
    if folder != RUNS:
        print(Lesson.normal([Seeds([run]) for run in runs]).to_string())


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "list the jobs: finished, missing, and what the missing would cost here"
    listing = commands.add_parser("list", help=text, description=text)
    training_again = commands.add_parser(
        "train",
        usage="%(prog)s [-h] [missing | grader] [PATTERN ...]",
        help="train again what the patterns name, or all",
        description=(
            "Train again what the patterns name, or all. After the word missing, train"
            " only what has no finished run. The word grader alone trains one seed of"
            " each headline network, into build/grader, and gives a verdict on each."
        ),
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
    {"list": show, "train": train}[given.command](given.patterns)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])

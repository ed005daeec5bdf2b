"""The plan of trainings: list it, and work through it.

usage: plan.py list [PATTERN..]      the jobs: finished, missing, and what the missing would cost here
       plan.py train [PATTERN..]     train again what matches a pattern such as 'cifar10/improved/*', or all
       plan.py train missing [PATTERN..]   train what has no finished run
       plan.py train grader          one seed of each headline network, into build/grader, and a verdict on each
"""
import interrupt  # noqa: F401

import itertools
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
from lab import datasets, training  # noqa: E402
from lab.backend import batches  # noqa: E402
from lab.fingerprint import operations  # noqa: E402
from lab.lesson import Lesson  # noqa: E402
from lab.plan import matching, plan  # noqa: E402
from lab.runs import read  # noqa: E402
from notebooks import guarded  # noqa: E402

RUNS = ROOT / "data" / "runs"
TIMED = 2048  # images, at least, that are timed to estimate a cost; three batches, where that is more


def state(job):
    """Return "finished", "waiting" in data/next for the other seeds, "other" for a run of another recipe, or "missing"."""
    run = training.stored(job, datasets.KNOWN[job.dataset], RUNS)
    if run:
        return "finished" if run.path.is_relative_to(RUNS) else "waiting"
    return "other" if read(RUNS / job.name) else "missing"


def speed(job):
    """Return (seconds of a training step here, operations of one image, steps an epoch) of a job, measured on random images."""
    known, recipe = datasets.KNOWN[job.dataset], job.recipe
    sizes = np.load(ROOT / "data" / "splits" / f"{known.name}.npz")
    share = len(sizes["training"]) + (len(sizes["validation"]) if recipe.fit_on else 0)
    images = int(share * (recipe.subset or 1))
    network = training.build(job.build, known, recipe, job.seed)
    training.compile_model(network, recipe, images)
    rng, steps = np.random.default_rng(0), max(3, TIMED // recipe.batch_size)
    pixels = rng.integers(0, 256, (steps * recipe.batch_size, *known.shape), np.uint8)
    targets = np.eye(len(known.classes), dtype="float32")[rng.integers(0, len(known.classes), len(pixels))]
    fed = batches(recipe.batch_size, pixels, targets)
    network.fit(**fed, shuffle=False, verbose=0)
    start = time.perf_counter()
    network.fit(**fed, shuffle=False, verbose=0)
    return (time.perf_counter() - start) / steps, operations(network), images


def show(patterns):
    """Print a line for each network and variant, and what the missing runs would cost here."""
    jobs, total, measured = matching(plan().values(), patterns or ["*"]), 0.0, {}
    for name, group in itertools.groupby(jobs, key=lambda job: job.name.rsplit("/", 1)[0]):
        group = list(group)
        states = {job.seed: state(job) for job in group}
        missing = [job for job in group if states[job.seed] in ("missing", "other")]
        words = [f"{len(seeds)} {word}" for word in ("finished", "waiting", "other", "missing")
                 if (seeds := [seed for seed, one in states.items() if one == word])]
        line = f"{name:52} {', '.join(words)}"
        if missing:
            recipe = missing[0].recipe
            key = (missing[0].build, missing[0].dataset, str(recipe.model_arguments), recipe.batch_size, recipe.precision)
            step, forward, images = measured[key] = measured.get(key) or speed(missing[0])
            seconds = step * -(-images // recipe.batch_size) * recipe.epochs * len(missing)
            cost = 3 * forward * images * recipe.epochs / 1e15
            total += seconds
            line += f"; {cost:.3g} PFLOP and about {seconds / len(missing) / 60:.1f} minutes a run here"
        print(line, flush=True)
    print(f"{len(jobs)} jobs; what is missing would take about {total / 3600:.1f} hours here" if total else f"{len(jobs)} jobs, all finished")


def train(patterns):
    """Train what the patterns name, one run after the other, each stored as soon as it is finished."""
    jobs = list(plan().values())
    only_missing, folder = patterns[:1] == ["missing"], RUNS
    if patterns == ["grader"]:
        folder, only_missing = ROOT / "build" / "grader" / "runs", True
        chosen = [job for job in jobs if job.variant == "main" and job.seed == 0]
    else:
        chosen = matching(jobs, patterns[only_missing:] or ["*"])
    runs, sets = [], {}
    for job in chosen:
        if only_missing and folder == RUNS and state(job) in ("finished", "waiting"):
            continue
        dataset = sets.get(job.dataset) or sets.setdefault(job.dataset, datasets.load(job.dataset))
        seeds = [one for one in jobs if one.name.rsplit("/", 1)[0] == job.name.rsplit("/", 1)[0]]
        if not dataset.available:
            print(f"{job.name} is left out: its images are not here.")
            continue
        runs += training.train([job], dataset, folder, not only_missing, seeds if folder == RUNS else None)
    print(f"{len(runs)} runs in {folder.relative_to(ROOT)}." + (" Next: make reproduce" if runs and folder == RUNS else ""))
    if folder != RUNS:
        print(Lesson.normal([[run] for run in runs]).to_string())


def main(arguments):
    if arguments[:1] == ["list"]:
        show(arguments[1:])
    elif arguments[:1] == ["train"]:
        train(arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])

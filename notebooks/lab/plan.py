"""The one list of all that is trained: the jobs of the notebooks' tagged cells."""

import fnmatch

from . import models
from .plumbing.files import LabError
from .recipes import Job, Recipe, jobs_in


def plan():
    """Return {name: Job} of every job that a `recipe` cell defines, in the order of the
    story.

    Raises LabError where two cells ask for different runs under one name.
    """
    found = {}
    for job in jobs_in(
        {
            name: value
            for name, value in vars(models).items()
            if not name.startswith("_")
        }
    ):
        if found.setdefault(job.name, job) != job:
            raise LabError(
                f"Two jobs are called {job.name} and differ: give one of them another"
                " variant."
            )
    return found


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


def job_of(record):
    """Return the Job that a run's record describes, with the function of today that
    builds its network.

    Raises LabError where there is none.
    """
    build = getattr(models, f"build_{record['model']}", None)
    if build is None:
        raise LabError(
            f"lab/models.py has no build_{record['model']}: tag its cell `model` and"
            " run make sync."
        )
    return Job(
        *(record[name] for name in ("dataset", "model", "variant", "seed")),
        Recipe.of(record),
        build,
        test="test" in record["metrics"],
    )

"""The one list of all that is trained: the jobs of the notebooks' tagged cells."""

from . import models
from .plumbing.files import LabError
from .recipes import Job, Recipe, jobs_in


def plan() -> dict[str, Job]:
    """Return {name: Job} of every job of the `recipe` cells, in the notebooks' order.

    Raises LabError where two cells ask for different runs under one name.
    """
    jobs = {}
    public = {k: v for k, v in vars(models).items() if not k.startswith("_")}
    for job in jobs_in(public):
        if jobs.setdefault(job.name, job) != job:
            raise LabError(
                f"Two jobs are called {job.name} and differ: give one of them another"
                " variant."
            )
    return jobs


def job_of(record: dict) -> Job:
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

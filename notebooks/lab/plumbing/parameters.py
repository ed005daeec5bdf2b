"""What a reader may write into a Parameters cell, and what it makes of a job."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from .files import LabError


def profile(asked, known):
    """Return the profile that is asked for, or that LAB_PROFILE names.

    Raises LabError where either is none of those known.
    """
    forced = os.environ.get("LAB_PROFILE") or asked
    for value in (asked, forced):
        if value not in known:
            raise LabError(
                f"There is no profile {value!r}: set PROFILE (or LAB_PROFILE) to"
                f" {' or '.join(map(repr, known))}."
            )
    return forced


def check_seeds(seeds):
    """Raise LabError for SEEDS that are no list of whole numbers."""
    listed = isinstance(seeds, (list, tuple)) and seeds
    whole = listed and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    if not whole or len(set(seeds)) < len(seeds):
        raise LabError(
            f"SEEDS is {seeds!r}: set it to a list of different whole numbers such as"
            " [0, 1, 2]."
        )


def names(asked, every, parameter="DATASETS"):
    """Return a list of names: every one for "all", one for a text.

    Raises LabError for what is no list of different names, in a sentence that names
    the parameter.
    """
    if asked == "all":
        return every
    if isinstance(asked, (str, Path)) and asked:
        return [str(asked)]
    listed = [str(name) for name in asked] if isinstance(asked, (list, tuple)) else []
    if not listed or len(set(listed)) < len(listed):
        raise LabError(
            f'{parameter} is {asked!r}: set it to "all" or to a list of different'
            " names."
        )
    return listed


def adapted(job, dataset, epochs=None, precision=None):
    """Return the job for a data set that may be another one: at most `epochs`, small
    batches for few images, and a `precision` of its own.

    Batches are halved until an epoch has 16 of them, down to 16 images; the learning
    rate of SGD with them. (Muon keeps its rate.)
    """
    recipe, batch = job.recipe, job.recipe.batch_size
    images = len(dataset.splits["training"]) if dataset.available else np.inf
    while batch >= 32 and batch * 16 > images:
        batch //= 2
    rate = recipe.learning_rate
    if recipe.optimizer.endswith("SGD") and batch < recipe.batch_size:
        rate *= batch / recipe.batch_size
    recipe = replace(
        recipe,
        epochs=min(recipe.epochs, epochs or recipe.epochs),
        batch_size=batch,
        learning_rate=rate,
        precision=precision or recipe.precision,
    )
    return replace(job, dataset=dataset.name, recipe=recipe)

"""What may stand in a recipe and in a job."""

import inspect
import json
from dataclasses import fields

import numpy as np

from ..plumbing.backend import keras
from ..plumbing.files import LabError
from . import parts
from .augmentation import VIEWS, augment

CHOICES = {  # the values of a recipe that are words
    "schedule": ("constant", "triangle"),
    "keep": ("lowest_validation_loss", "last_epoch"),
    "precision": ("float32", "mixed_float16", "mixed_bfloat16"),
    "class_weight": (None, "balanced"),
    "flip": (None, False, True, "alternating"),
    "views": (None, *VIEWS),
    "fit_on": (None, "training_and_validation"),
    "leave_out": (None, "audit"),
    "test_time_augmentation": (None, False, True),
}
WHOLE = "a whole number, 1 or more"
RANGES = {  # of numbers: whether a value is one, and in words
    "epochs": (lambda x: type(x) is int and x > 0, WHOLE),
    "batch_size": (lambda x: type(x) is int and x > 0, WHOLE),
    "learning_rate": (lambda x: 0 < x < float("inf"), "a number above 0"),
    "label_smoothing": (lambda x: 0 <= x < 1, "a number from 0 to below 1"),
    "subset": (lambda x: x is None or 0 < x < 1, "a share between 0 and 1, or None"),
    "lookahead": (lambda x: x is None or type(x) is int and x > 0, f"{WHOLE}, or None"),
}
CHANGES = {  # of augmentation
    "shift": (lambda x: type(x) is int and x >= 0, "a whole number of pixels"),
    "turn": (lambda x: 0 <= x <= 180, "a number of degrees from 0 to 180"),
    "zoom": (lambda x: 0 <= x < 1, "a number from 0 to below 1"),
    "cutout": (lambda x: type(x) is int and x >= 0, "a whole number of pixels"),
    "erasing": (
        lambda x: x is None or list(map(type, x)) == [int, int] and 0 < x[0] <= x[1],
        "the smallest and the largest side in pixels, such as (2, 8)",
    ),
    "contrast": (lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "brightness": (lambda x: 0 <= x <= 255, "a number from 0 to 255"),
    "noise": (lambda x: 0 <= x <= 255, "a number from 0 to 255"),
    "blur": (lambda x: 0 <= x <= 0.8, "a number from 0 to 0.8"),
}
# Those that are made with arguments of another kind, or stand for all.
NO_OPTIMIZERS = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)


class Checked:
    """A dataclass whose fields are checked by `check` when it is made.

    Raises LabError for a field that it does not have.
    """

    def __new__(cls, *values, **named):
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in named if name not in known]:
            raise LabError(
                f"A {cls.__name__} has no {unknown[0]!r}: it has {', '.join(known)}."
            )
        return super().__new__(cls)

    def __post_init__(self):
        check_job(self) if hasattr(self, "recipe") else check(self)


def check(recipe):
    """Raise LabError for a value in a recipe that stands for nothing or is out of
    range, and for choices that exclude one another.
    """
    for name in ("optimizer_arguments", "model_arguments"):
        _written(name, getattr(recipe, name))
    augmentation = recipe.augmentation or {}
    _written("augmentation", augmentation)
    options = ("flip", *CHANGES)
    if unknown := [name for name in augmentation if name not in options]:
        raise LabError(
            f"There is no augmentation {unknown[0]!r}: choose among"
            f" {', '.join(options)}."
        )
    for name, known in CHOICES.items():
        value = augmentation.get(name) if name == "flip" else getattr(recipe, name)
        if value not in known:
            raise LabError(
                f"A recipe has {name}={value!r}: choose among"
                f" {', '.join(map(repr, known))}."
            )
    values = {name: getattr(recipe, name) for name in RANGES} | augmentation
    for name, (fits, words) in (RANGES | CHANGES).items():
        if name in values and not _fits(fits, values[name]):
            raise LabError(f"A recipe has {name}={values[name]!r}: write {words}.")
    _check_optimizer(recipe)
    if recipe.fit_on and recipe.keep != "last_epoch":
        raise LabError(
            "A recipe that trains on validation images, too, cannot choose an epoch by"
            " them: set keep='last_epoch'."
        )


def _written(name, value):
    """Raise LabError for arguments that a run's record cannot hold."""
    try:
        names = [isinstance(key, str) for key in value.keys()]
        json.dumps(value)
    except (AttributeError, TypeError, ValueError):
        names = [False]
    if not all(names):
        raise LabError(
            f"A recipe has {name}={value!r}: write a dict of names and of numbers,"
            " texts or lists, which a run's record can hold."
        )


def _fits(fits, value):
    """Return whether a value is in a range; what cannot be compared is not."""
    try:
        written = value is None or isinstance(value, (int, float, list, tuple))
        return written and not isinstance(value, bool) and fits(value)
    except TypeError:
        return False


def _check_optimizer(recipe):
    """Raise LabError for an optimiser, or an argument of one, that does not exist."""
    kind = isinstance(recipe.optimizer, str) and (
        getattr(parts, recipe.optimizer, None)
        or getattr(keras.optimizers, recipe.optimizer, None)
    )
    if (
        not isinstance(kind, type)
        or not issubclass(kind, keras.optimizers.Optimizer)
        or kind in NO_OPTIMIZERS
    ):
        raise LabError(
            f"There is no optimizer {recipe.optimizer!r}: take the name of a class of"
            " keras.optimizers, such as 'Adam' or 'SGD'."
        )
    known = []
    for base in kind.__mro__[: kind.__mro__.index(keras.optimizers.Optimizer)]:
        known += inspect.signature(base.__init__).parameters.values()
    known = [
        parameter.name
        for parameter in known
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    known = [name for name in known if name not in ("self", "learning_rate")]
    for name in recipe.optimizer_arguments:
        if name == "learning_rate":
            raise LabError(
                "The learning rate is set once: learning_rate=… of a recipe."
            )
        if name not in known:
            raise LabError(
                f"The optimizer {recipe.optimizer} has no argument {name!r}: it has"
                f" {', '.join(dict.fromkeys(known))}."
            )


def check_job(job):
    """Raise LabError for what is no part of a job, and for a job that trains on the
    validation images and predicts no others.
    """
    for name in ("dataset", "model", "variant"):
        value = getattr(job, name)
        if not isinstance(value, str) or not value or {*"/\\"} & {*value}:
            raise LabError(
                f"A job has {name}={value!r:.60}: write a name without slashes."
            )
    if type(job.seed) is not int or not 0 <= job.seed < 2**32:
        raise LabError(
            f"A job has seed={job.seed!r}: write a whole number from 0 to 2**32 - 1."
        )
    if not callable(job.build) or isinstance(job.build, keras.Model):
        raise LabError(
            f"A job has build={job.build!r:.60}: give the function itself, such as"
            " build_mine, without calling it."
        )
    if not hasattr(job.recipe, "optimizer"):
        raise LabError(f"A job has recipe={job.recipe!r:.60}: give a Recipe.")
    if job.recipe.fit_on and not job.test:
        raise LabError(
            f"{job.name} trains on the validation images, too: set test=True, so"
            " that something tells how good it is."
        )
    if job.recipe.fit_on and job.corrupted:
        raise LabError(
            f"{job.name} trains on the validation images, too: leave corrupted out."
        )


def check_training(recipe, images):
    """Raise LabError where an optimiser or an augmentation cannot be used as the recipe
    has it on such images, uint8 (n, height, width, channels).
    """
    kind = (vars(keras.optimizers) | vars(parts))[recipe.optimizer]
    try:
        kind(learning_rate=recipe.learning_rate, **recipe.optimizer_arguments)
    except (TypeError, ValueError) as error:
        raise LabError(
            f"The optimizer {recipe.optimizer} cannot be made with"
            f" {recipe.optimizer_arguments}: {str(error).splitlines()[0]}"
        ) from None
    options = dict(recipe.augmentation or {})
    if options.get("flip") == "alternating":
        options["flip"] = True
    try:
        largest = max(options.get("shift", 0) + 1, *(options.get("erasing") or [0]))
        if largest > min(images.shape[1:3]):
            raise ValueError
        augment(images[:4], np.random.default_rng(0), **options)
    except (IndexError, TypeError, ValueError):
        sides = " × ".join(map(str, images.shape[1:3]))
        raise LabError(
            f"The augmentation {options} does not fit images of {sides} pixels: no"
            " shift, cutout or erasing may be larger than the image."
        ) from None

"""What is to be trained: a recipe holds every hyper-parameter, a job names one training
run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Callable, Iterator

from .methods.checks import Checked
from .plumbing.names import BASE


@dataclass(frozen=True)
class Recipe(Checked):
    """Every hyper-parameter of a training run: what changes the result stands here.

    optimizer, optimizer_arguments: the name of a class of keras.optimizers or of
        methods.parts, and its arguments.
    learning_rate: of every step, or the peak of the schedule.
    schedule: "constant", or "triangle": linear from 0 up to the peak over the first
        fifth of all steps, then linear down to 0.
    label_smoothing: the share of the target that is spread over all classes.
    augmentation: arguments of `methods.augmentation.augment`, or None.
        flip="alternating" mirrors a random half of the images in even epochs and the
        other half in odd ones.
    keep: "lowest_validation_loss" or "last_epoch": the epoch whose weights are the
        result.
    precision: a Keras dtype policy, "float32" or "mixed_float16" or "mixed_bfloat16".
    model_arguments: further arguments of the function that builds the model.
    subset: train on this share of the training split, every class in proportion; None
        takes all. (Whitening is computed from at most 5,000 of the whole split.)
    lookahead: steps after which `methods.parts.Lookahead` averages the weights; None
        never does.
    test_time_augmentation: predict also the mean over several views, see
        `methods.augmentation.views`.
    class_weight: "balanced" weights each image's loss by `class_weights`, so that all
        classes count alike.
    fit_on: "training_and_validation" trains on both splits, when every choice has been
        made (not on validation images with the pixels of a test image); None on
        training alone.
    leave_out: "audit" leaves out the images that `methods.audit.condemned` names; None
        trains on all.
    views: a name in `methods.augmentation.VIEWS`; None takes six.
    Raises LabError for a word that stands for nothing; see `methods.checks`. Introduced
        in notebook 02.
    """

    epochs: int
    batch_size: int = 32
    optimizer: str = "Adam"
    learning_rate: float = 1e-3
    optimizer_arguments: dict = field(default_factory=dict)
    schedule: str = "constant"
    label_smoothing: float = 0.0
    augmentation: dict = None
    keep: str = "lowest_validation_loss"
    precision: str = "float32"
    model_arguments: dict = field(default_factory=dict)
    subset: float = None
    lookahead: int = None
    test_time_augmentation: bool = None
    class_weight: str = None
    fit_on: str = None
    leave_out: str = None
    views: str = None

    @classmethod
    def of(cls, record: dict) -> Recipe:
        """Return the recipe of a run's record, which may have fields that are gone."""
        known = {setting.name for setting in fields(cls)}
        stored = record["recipe"].items()
        return cls(**{name: value for name, value in stored if name in known})


@dataclass(frozen=True)
class Job(Checked):
    """One training run that is to be: what it needs, and what it shall leave behind.

    dataset, model, variant, seed: its place under data/runs. variant: "main" for the
        headline recipe.
    build: the function of a `model` cell, (input_shape, classes, ...) -> keras.Model
        that ends in a softmax.
    test: whether the test images are predicted, once, when the training has ended.
    weights: whether the trained weights are kept.
    corrupted: whether corrupted validation images are predicted for notebook 05.
    Raises LabError for a job that trains on the validation images, too, and does not
    predict the test images: nothing would tell how good it is. Introduced in notebook
    02.
    """

    dataset: str
    model: str
    variant: str
    seed: int
    recipe: Recipe
    build: Callable
    test: bool = False
    weights: bool = False
    corrupted: bool = False

    @property
    def name(self) -> str:
        """dataset/model/variant/seed-k."""
        return f"{self.dataset}/{self.model}/{self.variant}/seed-{self.seed}"

    @property
    def label(self) -> str:
        """The name of the network, with its variant where that is not the headline
        one.
        """
        return self.model if self.variant == "main" else f"{self.model} {self.variant}"


def study_jobs(
    dataset: str,
    model: str,
    build: Callable,
    base: Recipe,
    factors: dict[str, dict[str, dict]],
    more: dict[str, int] | None = None,
    corrupted: tuple[str, ...] = (),
) -> dict[str, dict[str, list[Job]]]:
    """Return {factor: {point: jobs, one a seed}} of recipes that differ from `base` in
    what a point replaces.

    factors: {factor: {point: the fields of `base` that it replaces}}. A point that
        replaces nothing is the base itself, stored as the variant "study-base"; the
        others are stored under their own names.
    more: {variant: how many seeds} for points that have more than 2.
    corrupted: the variants whose seed 0 has `Job.corrupted`. Introduced in notebook 03.
    """

    def jobs(point, change):
        recipe = replace(base, **change)
        variant = BASE if recipe == base else point
        place, asked = (dataset, model, variant), variant in corrupted
        return [
            Job(*place, seed, recipe, build, corrupted=asked and seed == 0)
            for seed in range((more or {}).get(variant, 2))
        ]

    return {
        factor: {point: jobs(point, change) for point, change in points.items()}
        for factor, points in factors.items()
    }


def jobs_in(value: object) -> Iterator[Job]:
    """Yield the jobs in nested lists and dicts."""
    if isinstance(value, Job):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from jobs_in(part)

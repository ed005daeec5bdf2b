"""What may stand in a recipe."""

from ..plumbing.backend import keras
from ..plumbing.files import LabError
from . import parts
from .augmentation import OPTIONS, VIEWS

CHOICES = {  # the values of a recipe that are words
    "schedule": ("constant", "triangle"),
    "keep": ("lowest_validation_loss", "last_epoch"),
    "class_weight": (None, "balanced"),
    "flip": (None, False, True, "alternating"),
    "views": (None, *VIEWS),
    "fit_on": (None, "training_and_validation"),
    "leave_out": (None, "audit"),
}


def check(recipe):
    """Raise LabError for a word in a recipe that stands for nothing, and for choices
    that exclude one another.
    """
    augmentation = recipe.augmentation or {}
    for name, known in CHOICES.items():
        value = augmentation.get(name) if name == "flip" else getattr(recipe, name)
        if value not in known:
            raise LabError(
                f"A recipe has {name}={value!r}: choose among"
                f" {', '.join(map(repr, known))}."
            )
    if unknown := [name for name in augmentation if name not in OPTIONS]:
        raise LabError(
            f"There is no augmentation {unknown[0]!r}: choose among"
            f" {', '.join(OPTIONS)}."
        )
    if not any(
        isinstance(getattr(where, recipe.optimizer, None), type)
        for where in (parts, keras.optimizers)
    ):
        raise LabError(
            f"There is no optimizer {recipe.optimizer!r}: take a class of"
            " keras.optimizers, such as 'Adam' or 'SGD'."
        )
    if recipe.fit_on and recipe.keep != "last_epoch":
        raise LabError(
            "A recipe that trains on validation images, too, cannot choose an epoch by"
            " them: set keep='last_epoch'."
        )

"""Networks as people write them: what a function of a `model` cell makes, checked."""

import re
import traceback
from itertools import zip_longest
from pathlib import Path

import numpy as np

from .backend import keras, out_of_memory
from .definitions import INSTALLED
from .files import LabError

OWN_STEPS = ("train_step", "test_step", "compute_loss", "fit")  # that the engine has


def built(build, shape, classes, arguments):
    """Return the network that a function makes, as a functional model: images of
    `shape` to one probability for each of the `classes`.

    build: a function (shape, classes, **arguments) -> keras.Model, functional,
        Sequential or subclassed.
    Raises LabError, in one sentence, where it fails, or returns something else.
    """
    name = getattr(build, "__name__", "build")
    try:
        returned = build(shape, classes, **arguments)
        model = functional(returned, shape)
    except LabError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise LabError(
            f"{name} cannot build a network for images of {_sides(shape)} and"
            f" {classes} classes: {_said(error)}{_place(error)}."
        ) from None
    if model is None:
        what = "nothing" if returned is None else f"a {type(returned).__name__}"
        raise LabError(
            f"{name} returns {what} and not a model: end it with"
            " `return keras.Model(inputs, outputs)`."
        )
    for step in OWN_STEPS:
        if not getattr(type(returned), step).__module__.startswith("keras."):
            raise LabError(
                f"{name} returns a model with its own {step}, which the training does"
                " not use: leave it out, and put the loss and the steps of training in"
                " the recipe."
            )
    _check(model, name, shape, classes)
    return model


def functional(model, shape=None):
    """Return a Keras model as a functional one, with the same layers and weights; None
    for what is no Keras model.

    shape: of an image, where the model does not say it.
    """
    if not isinstance(model, keras.Model):
        return None
    if isinstance(model, keras.Sequential):
        if not model.built:
            model.build((None, *shape))
        x = inputs = keras.Input(model.inputs[0].shape[1:], dtype=model.inputs[0].dtype)
        for layer in model.layers:
            # `add` calls the layers before again each time: `output` is of one call.
            layer._inbound_nodes.clear()
            x = layer(x)
        return keras.Model(inputs, x, name=model.name)
    if hasattr(model, "operations"):
        return model
    inputs = keras.Input(shape)
    return keras.Model(inputs, model(inputs), name=model.name)


def output_shape(layer):
    """Return the shape of what a layer gives for one image, the first of several."""
    first = layer.output
    return (first[0] if isinstance(first, (list, tuple)) else first).shape[1:]


def _check(model, name, shape, classes):
    """Raise LabError where a functional model does not take one image, or does not give
    one number for each class.
    """
    for many, what in ((model.inputs, "inputs"), (model.outputs, "outputs")):
        if len(many) != 1:
            raise LabError(
                f"{name} returns a model with {len(many)} {what}: it must take one"
                " picture and give one list of probabilities."
            )
    taken, given = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    if any(side != own for side, own in zip_longest(taken, shape)):
        raise LabError(
            f"{name} returns a model for images of {_sides(taken)}, and these are of"
            f" {_sides(shape)}: write `keras.Input(shape=input_shape)`."
        )
    if len(given) != 1 or given[0] not in (None, classes):
        before = (
            "put Flatten or GlobalAveragePooling2D before its last layer,"
            if len(given) > 1
            else "end it with"
        )
        raise LabError(
            f"{name} returns a model that gives {_sides(given)}"
            f" number{'s' * (given != (1,))} for an image,"
            f" and not one for each of the {classes} classes: {before}"
            ' `Dense(classes, activation="softmax")`.'
        )
    if any(0 in weight.shape for weight in model.weights):  # old versions of Keras
        raise LabError(
            f"{name} cannot build a network for images of {_sides(shape)}: the maps get"
            " smaller than one pixel. Leave a pooling or a stride out."
        )
    if not model.trainable_variables:
        raise LabError(f"{name} returns a model without any weight to train.")


def check_answers(model, name):
    """Raise LabError where a functional model does not give probabilities: without a
    softmax, or with two. The weights are changed: no model to go on with.
    """
    shape, classes = model.inputs[0].shape[1:], model.outputs[0].shape[-1]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *shape), np.uint8)

    def ask():
        return keras.ops.convert_to_numpy(model(images, training=False)).astype(float)

    answers = ask()
    if not np.allclose(answers.sum(axis=1), 1, atol=0.02) or answers.min() < 0:
        raise LabError(
            f"The answers of {name} are no probabilities: those for one image sum to"
            f" {answers[0].sum():.3g}, and not to 1. End it with"
            ' `Dense(classes, activation="softmax")`.'
        )
    for weight in model.weights:
        if len(weight.shape) > 1 and weight.shape[-1] == classes:
            weight.assign(1000 * rng.standard_normal(weight.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        answers = ask()
        spread = np.log(answers.max(axis=1) / answers.min(axis=1))
    # Softmax makes of a 1 and zeros numbers that differ by the factor e, no more.
    if np.median(np.abs(spread - 1)) < 1e-3:
        raise LabError(
            f"{name} applies softmax twice, or to what lies between 0 and 1, so that no"
            " answer can be sure: apply softmax once, and nothing before it."
        )


def _sides(shape):
    return " × ".join(map(str, shape))


def _said(error):
    """Return the first line of an exception that says something."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        lines = lines[1:]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def _place(error):
    """Return the line of the reader's code at which an exception arose, in words."""
    own = [
        frame.line
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.line
        and not frame.filename.startswith(INSTALLED)
        and Path(frame.filename).parent != Path(__file__).parent
    ]
    return f", at `{own[-1]}`" if own else ""

"""How one network is trained: what a recipe means, epoch by epoch."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from . import taught
from .methods import checks, parts
from .methods.feeding import class_weights, one_epoch
from .plumbing import card
from .plumbing.backend import (
    EVALUATED,
    apart,
    batches,
    environment,
    keras,
    others,
    warm_up,
)
from .plumbing.building import built, check_answers
from .plumbing.screen import progress
from .taught import steps_per_epoch

# The function of notebook 02, which finds the optimisers of `methods.parts`, too.
compile_model = partial(taught.compile_model, own_optimizers=vars(parts))

CROWDED = 0.1  # share of the machine that others may use before a run says so


def build(function, dataset, recipe, seed=None):
    """Return the untrained model that `function` (of a `model` cell) makes, its weights
    drawn from `seed`; None: not seeded.
    """

    def make():
        keras.config.set_dtype_policy(recipe.precision)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        classes = len(dataset.classes)
        return built(function, dataset.shape, classes, recipe.model_arguments)

    return card.keep_exact(apart(make), recipe.precision, parts.WHITENING)


def check(job, dataset):
    """Raise LabError where the network of a job does not give probabilities, or its
    recipe does not fit the images: before training starts.
    """
    checks.check_training(job.recipe, dataset.split("training")[0])
    network = build(job.build, dataset, job.recipe, job.seed)
    check_answers(network, getattr(job.build, "__name__", "build"))


def run_epochs(network, training, dataset, job, checkpoints, tell):
    """Train epoch by epoch on `training` (images, labels), from a checkpoint if it can;
    leave the kept weights, return the state (see `Checkpoints`, and compile: seconds).
    """
    (images, labels), recipe = training, job.recipe
    targets = np.eye(len(dataset.classes), dtype="float32")
    held_out = None if recipe.fit_on else dataset.split("validation")
    compile_model(network, recipe, len(images))
    card.settle(network, recipe.precision, recipe.lookahead)
    options = {"shuffle": False, "verbose": 0}
    if recipe.class_weight == "balanced":
        options["class_weight"] = class_weights(labels, len(dataset.classes))
    variables = network.variables + network.optimizer.variables
    average = None
    per_epoch = steps_per_epoch(len(images), recipe.batch_size)
    if recipe.lookahead:
        last = per_epoch * recipe.epochs
        average = parts.Lookahead(network, recipe.lookahead, last)
        variables = variables + list(average.slow)
    compile_seconds = warm_up(
        network, variables, recipe.batch_size, images, targets[labels], options
    )
    state, note = checkpoints.read(variables)
    history, best_weights = state["history"], state.pop("best_weights")
    title = f"{job.label} on {dataset.title}, seed {job.seed}{note}"
    if 0 < len(history) < recipe.epochs:
        title += f", resumed at epoch {len(history) + 1} of {recipe.epochs}"
    state["compile"], facts = compile_seconds, environment(network.dtype_policy.name)
    if facts not in state["environments"][-1:]:
        state["environments"].append(facts)
    options["callbacks"] = card.counting(network, history, per_epoch)
    if average:
        average.done = len(history) * per_epoch
        options["callbacks"].append(average)
    begin = others()
    with ThreadPoolExecutor(1) as background:  # prepares an epoch during the one before
        prepared = background.submit(one_epoch, images, recipe, job.seed, len(history))
        while len(history) < recipe.epochs:
            start, epoch = time.perf_counter(), len(history)
            tell(progress(title, history, recipe.epochs))
            changed, order = prepared.result()
            prepared = background.submit(one_epoch, images, recipe, job.seed, epoch + 1)
            fed = batches(recipe.batch_size, changed, targets[labels[order]])
            fitted = network.fit(**fed, **options).history
            row = {name: fitted[name][0] for name in ("loss", "accuracy")}
            row |= {"validation_loss": None, "validation_accuracy": None}
            if held_out:
                fed = batches(EVALUATED, held_out[0], targets[held_out[1]])
                seen = network.evaluate(**fed, verbose=0, return_dict=True)
                row |= {f"validation_{name}": seen[name] for name in fitted}
            seconds = round(time.perf_counter() - start, 3)
            history.append({"epoch": epoch + 1, **row, "seconds": seconds})
            losses = [row["validation_loss"] for row in history]
            if recipe.keep == "last_epoch":
                state["best"] = epoch
            elif epoch == 0 or losses[-1] < losses[state["best"]]:
                state["best"], best_weights = epoch, network.get_weights()
            if begin:
                state["shared"] = bool(state["shared"]) or others(begin) > CROWDED
            if checkpoints.due() or epoch + 1 == recipe.epochs:
                checkpoints.write(variables, state, best_weights)
    if best_weights:
        network.set_weights(best_weights)
    return state

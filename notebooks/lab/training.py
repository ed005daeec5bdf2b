"""How one network is trained: what a recipe means, epoch by epoch."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from sklearn.model_selection import train_test_split

from . import taught
from .methods import audit, checks, parts
from .methods.augmentation import augment, views
from .plumbing import records
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
from .plumbing.files import LabError
from .plumbing.screen import progress
from .taught import steps_per_epoch

# The function of notebook 02, which finds the optimisers of `methods.parts`, too.
compile_model = partial(taught.compile_model, own_optimizers=vars(parts))

CROWDED = 0.1  # share of the machine that others may use before a run says so


def build(function, dataset, recipe, seed=None):
    """Return the untrained model that `function` (of a `model` cell) makes, its weights
    drawn from `seed`.
    """

    def make():
        keras.config.set_dtype_policy(recipe.precision)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        classes = len(dataset.classes)
        return built(function, dataset.shape, classes, recipe.model_arguments)

    return apart(make)


def check(job, dataset):
    """Raise LabError where the network of a job does not give probabilities, or its
    recipe does not fit the images: before training starts.
    """
    checks.check_training(job.recipe, dataset.split("training")[0])
    network = build(job.build, dataset, job.recipe, job.seed)
    check_answers(network, getattr(job.build, "__name__", "build"))


def training_images(dataset, recipe, seed):
    """Return the images and labels that a recipe trains on: of the training split, or
    of what it asks for instead.
    """
    chosen = dataset.splits["training"]
    if recipe.fit_on:
        chosen = np.concatenate([chosen, dataset.splits["validation"]])
    if recipe.leave_out:
        chosen = chosen[~audit.condemned(dataset, chosen)]
    if recipe.subset is not None:
        labels, every = dataset.labels[chosen], np.arange(len(chosen))
        try:
            kept, _ = train_test_split(
                every, train_size=recipe.subset, stratify=labels, random_state=seed
            )
        except ValueError:
            raise LabError(
                f"subset={recipe.subset} of {len(chosen):,} training images leaves too"
                " few for each class: take a larger share."
            ) from None
        chosen = chosen[kept]
    if np.array_equal(chosen, dataset.splits["training"]):
        return dataset.split("training")
    return dataset.images[chosen], dataset.labels[chosen]


def whiten(network, images, dataset, recipe):
    """Fill the whitening layer of a network that has one from training images."""
    if parts.WHITENING not in [layer.name for layer in network.layers]:
        return
    # Of large images fewer, or memory runs out.
    few = 5000 * 64 * 64 // max(64 * 64, dataset.shape[0] * dataset.shape[1])
    changed = recipe.fit_on or recipe.leave_out
    seen = images if changed else dataset.split("training")[0]
    constants = {}
    if recipe.whitening_constant is not None:
        constants = {"constant": recipe.whitening_constant}
    parts.whiten(network, seen[:few], **constants)


def run_epochs(network, training, dataset, job, checkpoints, tell):
    """Train epoch by epoch, resuming where a checkpoint allows; leave the kept weights
    in `network`, and return the state of the training (see `Checkpoints`).
    """
    (images, labels), recipe = training, job.recipe
    targets = np.eye(len(dataset.classes), dtype="float32")
    held_out = None if recipe.fit_on else dataset.split("validation")
    compile_model(network, recipe, len(images))
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
    if average:
        average.done = len(history) * per_epoch
        options["callbacks"] = [average]
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
            if recipe.keep == "last_epoch":
                state["best"] = epoch
            elif epoch == 0 or _lower(history, state["best"]):
                state["best"], best_weights = epoch, network.get_weights()
            if begin:
                state["shared"] = bool(state["shared"]) or others(begin) > CROWDED
            checkpoints.write(variables, state, best_weights)
    if best_weights:
        network.set_weights(best_weights)
    return state


def _lower(history, best):
    """Return whether the last epoch has a lower validation loss than the best one."""
    return history[-1]["validation_loss"] < history[best]["validation_loss"]


def one_epoch(images, recipe, seed, epoch):
    """Return the images of an epoch, shuffled and augmented, and their order: a
    function of seed and epoch alone.
    """
    if epoch == recipe.epochs:
        return None
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(images))
    options = dict(recipe.augmentation or {})
    if options.get("flip") == "alternating":
        first = np.random.default_rng([seed, recipe.epochs]).random(len(images)) < 0.5
        options["flip"] = (first ^ (epoch % 2 == 1))[order]
    return (augment(images[order], rng, **options) if options else images[order]), order


def class_weights(labels, classes):
    """Return {class: weight}, images / (classes · images of the class): equal sums of
    weights, and 1 on average.

    Source: G. King and L. Zeng (2001), as scikit-learn's "balanced"; 0 for a class
    without images.
    """
    counts = np.bincount(labels, minlength=classes)
    return {
        c: float(len(labels) / (classes * count)) if count else 0.0
        for c, count in enumerate(counts)
    }


def predict(network, training, dataset, job):
    """Return the stored arrays: probabilities (float16) and labels of validation and,
    where the job says so, of test.

    Names that end in _tta are means over views; `training_right` says for each training
    image, as it is, whether the answer is right; where images have the pixels of a
    training image, `validation_leaked` and `test_leaked` say which. Headline runs and
    refits keep all probabilities; another run keeps of each image the answer, its
    probability and that of the label.
    """

    def ask(images):
        return network.predict(**batches(EVALUATED, images), verbose=0)

    (images, labels), recipe = training, job.recipe
    arrays = {"training_right": ask(images).argmax(axis=1) == labels}
    seen = ["training"] + ["validation"] * bool(recipe.fit_on)
    for split in ["validation"] * (not recipe.fit_on) + ["test"] * job.test:
        images, labels = dataset.split(split)
        arrays[f"{split}_probabilities"] = ask(images).astype(np.float16)
        if recipe.test_time_augmentation:
            weighted = views(images, recipe.views)
            mean = sum(weight * ask(view) for weight, view in weighted)
            arrays[f"{split}_probabilities_tta"] = mean.astype(np.float16)
        arrays[f"{split}_labels"] = labels.astype(np.int16)
        copied = audit.leaked(dataset, split, seen)
        if copied.any():
            arrays[f"{split}_leaked"] = copied
    analysed = job.test and job.variant in ("main", "refit")
    return arrays if analysed else records.answers_alone(arrays)

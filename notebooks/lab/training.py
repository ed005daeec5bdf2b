"""Train one model with one recipe on one data set with one seed, and keep all that it leaves."""
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from . import parts
from .audit import leaked
from .augmentation import augment, views
from .backend import batches, environment, keras, out_of_memory
from .files import ROOT, LabError
from .fingerprint import PROTOCOL, fingerprint
from .runs import Checkpoints, all_metrics, git_commit, label, read, store, summary, weights_sha256
from .screen import Line, clock

HEADLINE = ("main", "large")  # variants whose test images are predicted; all others see validation only
HEAVY = 1_000_000  # parameters: the weights of a dense network with more are not kept
CHOICES = {  # the values of a recipe that are words
    "schedule": ("constant", "triangle"), "keep": ("lowest_validation_loss", "last_epoch"), "loss": ("categorical_crossentropy",),
    "class_weight": (None, "balanced"), "flip": (None, False, True, "alternating")}
COMPARED = (("improved", "study-base"), ("improved", "no-whitening"))  # points of a study whose weights notebook 05 looks at


@dataclass(frozen=True)
class Recipe:
    """Every hyper-parameter of a training run: what changes the result stands here.

    optimizer, optimizer_arguments: a class of keras.optimizers or of lab.parts and its arguments.
    learning_rate: of every step, or the peak of the schedule.
    schedule: "constant", or "triangle": linear from 0 up to the peak over the first fifth of
        all steps, then linear down to 0.
    label_smoothing: the share of the target that is spread over all classes.
    augmentation: arguments of `lab.augmentation.augment`, or None. flip="alternating" mirrors a
        random half of the images in even epochs and the other half in odd ones.
    keep: "lowest_validation_loss" or "last_epoch": the epoch whose weights are the result.
    patience: stop after so many epochs without a lower validation loss; None never stops.
    precision: a Keras dtype policy, "float32" or "mixed_float16" or "mixed_bfloat16".
    model_arguments: further arguments of the function that builds the model.
    subset: train on this share of the training split, every class in proportion; None takes all.
    lookahead: steps after which `lab.parts.Lookahead` averages the weights; None never does.
    test_time_augmentation: predict also the mean over six views, see `lab.augmentation.views`.
    class_weight: "balanced" weights each image's loss by `class_weights`, so that all classes count alike.
    Raises LabError for a word that stands for nothing. Introduced in notebook 02.
    """

    epochs: int
    batch_size: int = 32
    optimizer: str = "Adam"
    learning_rate: float = 1e-3
    optimizer_arguments: dict = field(default_factory=dict)
    schedule: str = "constant"
    loss: str = "categorical_crossentropy"
    label_smoothing: float = 0.0
    augmentation: dict = None
    keep: str = "lowest_validation_loss"
    patience: int = None
    precision: str = "float32"
    model_arguments: dict = field(default_factory=dict)
    subset: float = None
    lookahead: int = None
    test_time_augmentation: bool = None
    class_weight: str = None

    def __post_init__(self):
        for name, known in CHOICES.items():
            value = self.augmentation.get(name) if name == "flip" and self.augmentation else getattr(self, name, None)
            if value not in known:
                raise LabError(f"A recipe has {name}={value!r}: choose among {', '.join(map(repr, known))}.")
        if not any(isinstance(getattr(where, self.optimizer, None), type) for where in (parts, keras.optimizers)):
            raise LabError(f"There is no optimizer {self.optimizer!r}: take a class of keras.optimizers, such as 'Adam' or 'SGD'.")


# --- one training run -----------------------------------------------------------------------


def build(function, dataset, recipe, seed):
    """Return the untrained model that `function` (of a `model` cell) makes, its weights drawn from `seed`."""
    keras.utils.clear_session(free_memory=False)  # or older versions go on where the last model's random numbers ended
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        keras.utils.set_random_seed(seed)
        return function(dataset.shape, len(dataset.classes), **recipe.model_arguments)
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(model, recipe, images):
    """Give `model` the recipe's optimiser and loss, for a training split of `images` images."""
    rate = recipe.learning_rate
    if recipe.schedule == "triangle":
        rate = parts.Triangle(rate, _steps(recipe, images))
    kind = getattr(parts, recipe.optimizer, None) or getattr(keras.optimizers, recipe.optimizer)
    optimizer = kind(learning_rate=rate, **recipe.optimizer_arguments)
    loss = {"categorical_crossentropy": keras.losses.CategoricalCrossentropy}[recipe.loss]
    model.compile(optimizer, loss(label_smoothing=recipe.label_smoothing), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)


def _place(folder, dataset, model, variant, seed):
    return Path(folder) / dataset.name / model / variant / f"seed-{seed}"


def stored(function, dataset, recipe, model, seed, variant, folder):
    """Return the finished Run that `train` would find in `folder`, or None."""
    run = read(_place(folder, dataset, model, variant, seed))
    if run is None:
        return None
    mark = fingerprint(build(function, dataset, recipe, seed), recipe, dataset, seed)
    return run if run.record["fingerprint"] == mark else None


def _steps(recipe, images):
    """Return the number of steps of a training on so many images."""
    return -(-images // recipe.batch_size) * recipe.epochs


def train(function, dataset, recipe, model, seed, variant, folder, retrain=False):
    """Return the finished Run of this model, recipe, data set and seed: found, resumed or trained.

    function: (input_shape, classes, ...) -> keras.Model that ends in a softmax.
    model, variant: names under which the run is stored in `folder`.
    A run in `folder` with the same fingerprint is loaded, unless `retrain`. Training writes a
    checkpoint after each epoch; started again after an interruption, it goes on from there.
    When the training has ended, the validation images are predicted, and those of a headline
    variant's test split, once.

    Raises LabError where the images are needed and are not here, or nothing can be written.
    """
    if not retrain and (run := stored(function, dataset, recipe, model, seed, variant, folder)):
        print(summary(run) + ", loaded")
        return run
    if not dataset.available:
        raise LabError(f"{model} on {dataset.title} has no finished run, and the images to train it are not here.")
    network = build(function, dataset, recipe, seed)
    mark = fingerprint(network, recipe, dataset, seed)
    if parts.WHITENING in [layer.name for layer in network.layers]:
        few = 5000 * 64 * 64 // max(64 * 64, dataset.shape[0] * dataset.shape[1])  # of large images fewer, or memory runs out
        parts.whiten(network, dataset.split("training")[0][:few])
    commit = git_commit()
    checkpoints = Checkpoints(ROOT / "build" / "checkpoints" / mark[:16])
    progress = Progress(f"{label(model, variant)} on {dataset.title}, seed {seed}")
    try:
        state = _fit(network, dataset, recipe, seed, checkpoints, progress)
        start = time.perf_counter()
        predictions = _predict(network, dataset, recipe, variant)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise LabError(f"Not enough memory for {model} on {dataset.title} with a batch size of {recipe.batch_size}: set "
                       f"batch_size={max(1, recipe.batch_size // 2)} in its recipe, restart the kernel, and run again.") from None
    seconds = {"train": round(state["seconds"], 1), "compile": round(state["compile"], 1),
               "evaluate": round(time.perf_counter() - start, 1)}
    history = pd.DataFrame(state["history"], columns=list(state["history"][0]))
    record = {
        "dataset": dataset.name, "model": model, "variant": variant, "seed": seed,
        "fingerprint": mark, "protocol": PROTOCOL, "recipe": asdict(recipe),
        "parameters": int(network.count_params()), "epochs_run": len(history), "best_epoch": state["best"] + 1,
        "data_sha256": dataset.sha256, "split_sha256": dataset.split_sha256, "seconds": seconds,
        "environment": environment(network.dtype_policy.name), "metrics": all_metrics(predictions),
        "weights_sha256": weights_sha256(network), "git_commit": commit,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    light = model == "dense" and network.count_params() < HEAVY
    keep_weights = seed == 0 and (variant == "main" and (model in ("two_conv", "improved") or light) or (model, variant) in COMPARED)
    run = store(_place(folder, dataset, model, variant, seed), record, history, predictions,
                network.get_weights() if keep_weights else None, dataset.classes)
    checkpoints.clear()
    progress.show(summary(run) + ", trained", last=True)
    return run


def _fit(network, dataset, recipe, seed, checkpoints, progress):
    """Train epoch by epoch, resuming where a checkpoint allows; leave the kept weights in `network`."""
    images, labels = _training_images(dataset, recipe, seed)
    targets = np.eye(len(dataset.classes), dtype="float32")
    validation_images, validation_labels = dataset.split("validation")
    validation = batches(500, validation_images, targets[validation_labels])
    compile_model(network, recipe, len(images))
    weights = class_weights(labels, len(dataset.classes)) if recipe.class_weight == "balanced" else None
    callbacks = [parts.Lookahead(network, recipe.lookahead, _steps(recipe, len(images)))] if recipe.lookahead else []
    variables = network.variables + network.optimizer.variables + [slow for one in callbacks for slow in one.slow]
    compile_seconds = _warm_up(network, variables, images[: recipe.batch_size], targets[labels[: recipe.batch_size]])
    state = checkpoints.read(variables) or {"history": [], "seconds": 0.0, "best": 0}
    best_weights = state.pop("best_weights", None)
    if 0 < len(state["history"]) < recipe.epochs:
        print(f"resumed at epoch {len(state['history']) + 1} of {recipe.epochs}")
    state["compile"] = compile_seconds
    history = state["history"]
    background = ThreadPoolExecutor(1)  # prepares the next epoch while this one is trained
    prepared = background.submit(_epoch, images, recipe, seed, len(history))
    while len(history) < recipe.epochs and not _out_of_patience(history, state["best"], recipe):
        start, epoch = time.perf_counter(), len(history)
        progress.epoch(history, recipe.epochs, state["seconds"])
        changed, order = prepared.result()
        prepared = background.submit(_epoch, images, recipe, seed, epoch + 1)
        fitted = network.fit(**batches(recipe.batch_size, changed, targets[labels[order]]), shuffle=False, verbose=0,
                             class_weight=weights, callbacks=callbacks).history
        seen = network.evaluate(**validation, verbose=0, return_dict=True)
        history.append({"epoch": epoch + 1, "loss": fitted["loss"][0], "accuracy": fitted["accuracy"][0],
                        "validation_loss": seen["loss"], "validation_accuracy": seen["accuracy"]})
        if recipe.keep == "last_epoch":
            state["best"] = epoch
        elif epoch == 0 or history[-1]["validation_loss"] < history[state["best"]]["validation_loss"]:
            state["best"], best_weights = epoch, network.get_weights()
        state["seconds"] += time.perf_counter() - start
        checkpoints.write(variables, state, best_weights)
    if best_weights is not None:
        network.set_weights(best_weights)
    return state


def class_weights(labels, classes):
    """Return {class: weight}, images / (classes · images of the class): equal sums of weights, and 1 on average.

    Source: G. King and L. Zeng (2001), as scikit-learn's "balanced"; 0 for a class without images.
    """
    counts = np.bincount(labels, minlength=classes)
    return {c: float(len(labels) / (classes * count)) if count else 0.0 for c, count in enumerate(counts)}


def _epoch(images, recipe, seed, epoch):
    """Return the images of an epoch, shuffled and augmented, and their order: a function of seed and epoch alone."""
    if epoch == recipe.epochs:
        return None
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(images))
    options = dict(recipe.augmentation or {})
    if options.get("flip") == "alternating":
        first = np.random.default_rng([seed, recipe.epochs]).random(len(images)) < 0.5
        options["flip"] = (first ^ (epoch % 2 == 1))[order]
    return (augment(images[order], rng, **options) if options else images[order]), order


def _warm_up(network, variables, images, targets):
    """Return the seconds that compiling the training step takes; the network is left as it was."""
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    start = time.perf_counter()
    network.fit(images, targets, batch_size=len(images), verbose=0)
    seconds = time.perf_counter() - start
    for variable, value in zip(variables, before):
        variable.assign(value)
    return seconds


def _out_of_patience(history, best, recipe):
    return recipe.patience is not None and len(history) - 1 - best >= recipe.patience


def _training_images(dataset, recipe, seed):
    """Return the images and labels of the training split, or of the subset that the recipe asks for."""
    images, labels = dataset.split("training")
    if recipe.subset is None:
        return images, labels
    chosen, _ = train_test_split(np.arange(len(labels)), train_size=recipe.subset, stratify=labels, random_state=seed)
    return images[chosen], labels[chosen]


def _predict(network, dataset, recipe, variant):
    """Return the stored arrays: probabilities (float16) and labels of validation and, for a headline run, of test.

    Names that end in _tta are means over views. Where test images have the pixels of a training
    image, `test_leaked` says which.
    """
    arrays = {}
    for split in ("validation", "test") if variant in HEADLINE else ("validation",):
        images, labels = dataset.split(split)
        arrays[f"{split}_probabilities"] = network.predict(**batches(500, images), verbose=0).astype(np.float16)
        if recipe.test_time_augmentation:
            mean = sum(weight * network.predict(**batches(500, view), verbose=0) for weight, view in views(images))
            arrays[f"{split}_probabilities_tta"] = mean.astype(np.float16)
        arrays[f"{split}_labels"] = labels.astype(np.int16)
    if variant in HEADLINE and (copied := leaked(dataset)).any():
        arrays["test_leaked"] = copied
    return arrays


# --- what the reader sees -------------------------------------------------------------------


class Progress(Line):
    """The line of one training run."""

    def __init__(self, title):
        super().__init__()
        self.title = title

    def epoch(self, history, epochs, elapsed):
        """Show the last epoch's losses and accuracies, the time gone and the time left."""
        line = f"{self.title}: epoch {len(history) + 1} of {epochs}"
        if history:
            last = history[-1]
            remaining = elapsed / len(history) * (epochs - len(history))
            line += (f"; loss {last['loss']:.3f}, validation {last['validation_loss']:.3f}; accuracy "
                     f"{last['accuracy']:.1%}, validation {last['validation_accuracy']:.1%}; "
                     f"{clock(elapsed)} gone, {clock(remaining)} left")
        self.show(line)

"""Train one job, and keep all that it leaves."""
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from . import audit, datasets, parts
from .augmentation import augment, views
from .backend import apart, batches, environment, keras, others, out_of_memory
from .files import ROOT, LabError, alone, relative
from .fingerprint import PROTOCOL, fingerprint, operations
from .runs import Checkpoints, Trained, all_metrics, git_commit, move, read, store, summary, weights_sha256
from .screen import Line, clock

EVALUATED = 500  # images at a time when a network is evaluated or asked
CROWDED = 0.1  # share of the machine that others may use before a run says so


def train(jobs, dataset, folder, retrain=False, seeds=None):
    """Return the finished Runs of some jobs on one data set: found, resumed or trained, one after the other.

    jobs: what is wanted; folder: where runs are stored; seeds: all jobs of the network, if `jobs` are some of them.
    A run in `folder` with the same fingerprint is loaded, unless `retrain`. Training writes a
    checkpoint after each epoch; started again after an interruption, it goes on from there.
    A headline network that stands in `folder` with another recipe stays there until every seed that is asked for is
    finished: until then these wait in the folder `next` beside it, and then they move together.

    Raises LabError where the images are needed and are not here, or nothing can be written.
    """
    for job in jobs:
        _train(job, dataset, folder, retrain)
    wanted, folder = [*(seeds or []), *jobs], Path(folder)
    found = {job.name: stored(job, dataset, folder) for job in wanted}
    if all(found.values()) and any(run.path != folder / name for name, run in found.items()):
        with alone(f"move {relative(folder / jobs[0].name)}", f"{jobs[0].label} on {dataset.title}"):
            found = {job.name: move(stored(job, dataset, folder), folder / job.name) for job in wanted}
    return [found[job.name] for job in jobs]


def _train(job, dataset, folder, retrain):
    """Train one job and store its run, where it is not there; a seed that waits in `next` is there."""
    before = stored(job, dataset, folder)
    if before and not (retrain and before.path == Path(folder) / job.name):
        return print(summary(before) + ", loaded")
    line = Line()
    with alone(fingerprint(job, dataset), f"{job.label} on {dataset.title}, seed {job.seed}"):
        run = stored(job, dataset, folder)
        if run and (not before or run.record != before.record):  # another process was faster
            return print(summary(run) + ", loaded")
        run = keep(_fit(job, dataset, line.show), folder)
    line.show(summary(run) + ", trained", last=True)


def stored(job, dataset, folder):
    """Return the finished Run of a job, with all that it asks for, in a folder of runs or in `next` beside it; or None."""
    mark = fingerprint(job, dataset)
    for path in (Path(folder) / job.name, waiting(folder) / job.name):
        run = read(path)
        if run and run.record["fingerprint"] == mark and ("test" in run.record["metrics"] or not job.test) and (
                run.record["weights_file_sha256"] or not job.weights):
            return run
    return None


def waiting(folder):
    """Return the folder, beside a folder of runs, in which finished seeds of a network wait for the others."""
    return Path(folder).parent / "next"


def keep(trained, folder):
    """Store what `fit` returns in a folder of runs, delete the checkpoints that it needed, and return the Run.

    A headline run of another recipe than the one that stands there goes into the folder `next` instead.
    """
    record = trained.record
    name = "/".join([*(record[part] for part in ("dataset", "model", "variant")), f"seed-{record['seed']}"])
    here = read(Path(folder) / name)
    waits = record["variant"] == "main" and here and here.record["fingerprint"] != record["fingerprint"]
    run = store(trained, (waiting(folder) if waits else Path(folder)) / name)
    _checkpoints(record["fingerprint"]).clear()
    return run


def _checkpoints(mark):
    return Checkpoints(ROOT / "build" / "checkpoints" / mark[:16])


# --- one training run -----------------------------------------------------------------------


def fit(job, dataset=None, tell=lambda text: None):
    """Train one job and return what it leaves, a `Trained`, for `keep`; training prints nothing and writes only checkpoints.

    dataset: None loads the job's. tell: is handed a line of text before each epoch.
    Training goes on from the newest checkpoint; a checkpoint of another machine or version is used, and the record
    says so. When the training has ended, training and validation images are predicted, and, where the job says so,
    those of the test split, once.

    Raises LabError where the images are not here, or the memory does not suffice.
    """
    dataset = dataset or datasets.load(job.dataset)
    with alone(fingerprint(job, dataset), job.name, tell):
        return _fit(job, dataset, tell)


def _fit(job, dataset, tell):
    if not dataset.available:
        raise LabError(f"{job.model} on {dataset.title} has no finished run, and the images to train it are not here.")
    mark, recipe, commit = fingerprint(job, dataset), job.recipe, git_commit()
    try:
        network = build(job.build, dataset, recipe, job.seed)
        images, labels = training_images(dataset, recipe, job.seed)
        if parts.WHITENING in [layer.name for layer in network.layers]:
            few = 5000 * 64 * 64 // max(64 * 64, dataset.shape[0] * dataset.shape[1])  # of large images fewer, or memory runs out
            constants = {} if recipe.whitening_constant is None else {"constant": recipe.whitening_constant}
            seen = images if recipe.fit_on or recipe.leave_out else dataset.split("training")[0]
            parts.whiten(network, seen[:few], **constants)
        state = run_epochs(network, (images, labels), dataset, job, _checkpoints(mark), tell)
        start = time.perf_counter()
        predictions = _predict(network, (images, labels), dataset, job)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise LabError(f"Not enough memory for {job.model} on {dataset.title} with a batch size of {recipe.batch_size}: set "
                       f"batch_size={max(1, recipe.batch_size // 2)} in its recipe, restart the kernel, and run again.") from None
    history = pd.DataFrame(state["history"], columns=list(state["history"][0]))
    seconds = {"train": round(len(history) * float(history["seconds"].median()), 1), "compile": round(state["compile"], 1),
               "evaluate": round(time.perf_counter() - start, 1)}
    *earlier, facts = state["environments"]
    record = {
        "dataset": dataset.name, "model": job.model, "variant": job.variant, "seed": job.seed,
        "fingerprint": mark, "protocol": PROTOCOL, "recipe": asdict(recipe),
        "parameters": int(network.count_params()), "pflop": pflop(network, len(images), len(history)),
        "epochs_run": len(history), "best_epoch": state["best"] + 1,
        "data_sha256": dataset.sha256, "split_sha256": dataset.split_sha256, "seconds": seconds,
        "shared_machine": state["shared"], "environment": facts | ({"earlier": earlier} if earlier else {}),
        "metrics": all_metrics(predictions), "weights_sha256": weights_sha256(network), "git_commit": commit,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return Trained(record, history, predictions, network.get_weights() if job.weights else None, dataset.classes)


def build(function, dataset, recipe, seed=None):
    """Return the untrained model that `function` (of a `model` cell) makes, its weights drawn from `seed`."""
    def make():
        keras.config.set_dtype_policy(recipe.precision)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        return function(dataset.shape, len(dataset.classes), **recipe.model_arguments)

    return apart(make)


def compile_model(model, recipe, images):
    """Give `model` the recipe's optimiser and loss, for a training split of `images` images."""
    rate = recipe.learning_rate
    if recipe.schedule == "triangle":
        rate = parts.Triangle(rate, _steps(recipe, images) * recipe.epochs)
    kind = getattr(parts, recipe.optimizer, None) or getattr(keras.optimizers, recipe.optimizer)
    optimizer = kind(learning_rate=rate, **recipe.optimizer_arguments)
    loss = {"categorical_crossentropy": keras.losses.CategoricalCrossentropy}[recipe.loss]
    model.compile(optimizer, loss(label_smoothing=recipe.label_smoothing), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)


def pflop(network, images, epochs):
    """Return what a training costs, in 1e15 operations: forward and, twice as much, back, for each image and epoch."""
    return round(3 * operations(network) * images * epochs / 1e15, 6)


def _steps(recipe, images):
    return -(-images // recipe.batch_size)


def run_epochs(network, training, dataset, job, checkpoints, tell):
    """Train epoch by epoch, resuming where a checkpoint allows; leave the kept weights in `network`."""
    (images, labels), recipe = training, job.recipe
    targets = np.eye(len(dataset.classes), dtype="float32")
    held_out = None if recipe.fit_on else dataset.split("validation")
    compile_model(network, recipe, len(images))
    weights = class_weights(labels, len(dataset.classes)) if recipe.class_weight == "balanced" else None
    callbacks = [parts.Lookahead(network, recipe.lookahead, _steps(recipe, len(images)) * recipe.epochs)] if recipe.lookahead else []
    variables = network.variables + network.optimizer.variables + [slow for one in callbacks for slow in one.slow]
    compile_seconds = warm_up(network, variables, recipe.batch_size, images, targets[labels], weights)
    state, note = checkpoints.read(variables)
    history, best_weights = state["history"], state.pop("best_weights")
    title = f"{job.label} on {dataset.title}, seed {job.seed}{note}"
    if 0 < len(history) < recipe.epochs:
        title += f", resumed at epoch {len(history) + 1} of {recipe.epochs}"
    state["compile"], facts = compile_seconds, environment(network.dtype_policy.name)
    if facts not in state["environments"][-1:]:
        state["environments"].append(facts)
    for callback in callbacks:
        callback.done = len(history) * _steps(recipe, len(images))
    begin = others()
    with ThreadPoolExecutor(1) as background:  # prepares the next epoch while this one is trained
        prepared = background.submit(one_epoch, images, recipe, job.seed, len(history))
        while len(history) < recipe.epochs and not _out_of_patience(history, state["best"], recipe):
            start, epoch = time.perf_counter(), len(history)
            tell(progress(title, history, recipe.epochs))
            changed, order = prepared.result()
            prepared = background.submit(one_epoch, images, recipe, job.seed, epoch + 1)
            fitted = network.fit(**batches(recipe.batch_size, changed, targets[labels[order]]), shuffle=False, verbose=0,
                                 class_weight=weights, callbacks=callbacks).history
            seen = {"loss": None, "accuracy": None}
            if held_out:
                fed = batches(EVALUATED, held_out[0], targets[held_out[1]])
                seen = network.evaluate(**fed, verbose=0, return_dict=True)
            history.append({"epoch": epoch + 1, "loss": fitted["loss"][0], "accuracy": fitted["accuracy"][0],
                            "validation_loss": seen["loss"], "validation_accuracy": seen["accuracy"],
                            "seconds": round(time.perf_counter() - start, 3)})
            if recipe.keep == "last_epoch":
                state["best"] = epoch
            elif epoch == 0 or history[-1]["validation_loss"] < history[state["best"]]["validation_loss"]:
                state["best"], best_weights = epoch, network.get_weights()
            if begin:
                state["shared"] = bool(state["shared"]) or others(begin) > CROWDED
            checkpoints.write(variables, state, best_weights)
    if best_weights:
        network.set_weights(best_weights)
    return state


def class_weights(labels, classes):
    """Return {class: weight}, images / (classes · images of the class): equal sums of weights, and 1 on average.

    Source: G. King and L. Zeng (2001), as scikit-learn's "balanced"; 0 for a class without images.
    """
    counts = np.bincount(labels, minlength=classes)
    return {c: float(len(labels) / (classes * count)) if count else 0.0 for c, count in enumerate(counts)}


def one_epoch(images, recipe, seed, epoch):
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


def warm_up(network, variables, size, images, targets, weights=None):
    """Return the seconds that compiling the steps of training and evaluation takes; the network is left as it was.

    The steps are fed as in training: a full batch, and one of the size that is left at the end of an epoch.
    """
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    few = min(len(images), size + len(images) % size)
    start = time.perf_counter()
    network.fit(**batches(size, images[:few], targets[:few]), shuffle=False, verbose=0, class_weight=weights)
    network.evaluate(**batches(EVALUATED, images[:few], targets[:few]), verbose=0)
    seconds = time.perf_counter() - start
    for variable, value in zip(variables, before):
        variable.assign(value)
    return seconds


def _out_of_patience(history, best, recipe):
    return recipe.patience is not None and len(history) - 1 - best >= recipe.patience


def training_images(dataset, recipe, seed):
    """Return the images and labels that a recipe trains on: of the training split, or of what it asks for instead."""
    chosen = dataset.splits["training"]
    if recipe.fit_on:
        chosen = np.concatenate([chosen, dataset.splits["validation"]])
    if recipe.leave_out:
        chosen = chosen[~audit.condemned(dataset, chosen)]
    if recipe.subset is not None:
        kept, _ = train_test_split(np.arange(len(chosen)), train_size=recipe.subset, stratify=dataset.labels[chosen], random_state=seed)
        chosen = chosen[kept]
    if np.array_equal(chosen, dataset.splits["training"]):
        return dataset.split("training")
    return dataset.images[chosen], dataset.labels[chosen]


def _predict(network, training, dataset, job):
    """Return the stored arrays: probabilities (float16) and labels of validation and, where the job says so, of test.

    Names that end in _tta are means over views; `training_right` says for each training image, as it is, whether
    the answer is right; where images have the pixels of a training image, `validation_leaked` and `test_leaked`
    say which. A run without test images keeps of each validation image the answer, its probability and that of
    the label.
    """
    def ask(images):
        return network.predict(**batches(EVALUATED, images), verbose=0)

    images, labels = training
    arrays = {"training_right": ask(images).argmax(axis=1) == labels}
    for split in ["validation"] * (not job.recipe.fit_on) + ["test"] * job.test:
        images, labels = dataset.split(split)
        arrays[f"{split}_probabilities"] = ask(images).astype(np.float16)
        if job.recipe.test_time_augmentation:
            mean = sum(weight * ask(view) for weight, view in views(images, job.recipe.views))
            arrays[f"{split}_probabilities_tta"] = mean.astype(np.float16)
        arrays[f"{split}_labels"] = labels.astype(np.int16)
        if (copied := audit.leaked(dataset, split, ["training"] + ["validation"] * bool(job.recipe.fit_on))).any():
            arrays[f"{split}_leaked"] = copied
    return arrays if job.test else answers_alone(arrays)


def answers_alone(arrays):
    """Return the arrays of a run without test images with the answers in place of all probabilities."""
    kept = {name: array for name, array in arrays.items() if "probabilities" not in name}
    probabilities, labels = arrays["validation_probabilities"], arrays["validation_labels"]
    rows, answers = np.arange(len(labels)), probabilities.argmax(axis=1)
    kept |= {"classes": np.int16(probabilities.shape[1]), "validation_answer": answers.astype(np.int16),
             "validation_p_answer": probabilities[rows, answers], "validation_p_label": probabilities[rows, labels]}
    if "validation_probabilities_tta" in arrays:
        kept["validation_answer_tta"] = arrays["validation_probabilities_tta"].argmax(axis=1).astype(np.int16)
    return kept


def progress(title, history, epochs):
    """Return a line on a training: its next epoch, the last one's losses and accuracies, the time gone and left."""
    line = f"{title}: epoch {len(history) + 1} of {epochs}"
    if not history:
        return line
    last, elapsed = history[-1], sum(row["seconds"] for row in history)
    line += f"; loss {last['loss']:.3f}, accuracy {last['accuracy']:.1%}"
    if last["validation_loss"] is not None:
        line += f"; validation {last['validation_loss']:.3f}, {last['validation_accuracy']:.1%}"
    return f"{line}; {clock(elapsed)} gone, {clock(elapsed / len(history) * (epochs - len(history)))} left"


"""What a recipe feeds a network with: which images, in which order, how weighted. And
what is kept of the network's answers.
"""

import numpy as np
from sklearn.model_selection import train_test_split

from ..plumbing import records
from ..plumbing.backend import EVALUATED, batches
from ..plumbing.files import LabError
from ..taught import CORRUPTIONS, corrupted
from . import audit, parts, statistics
from .augmentation import augment, views


def training_images(dataset, recipe, seed):
    """Return the images and labels that a recipe trains on: of the training split, or
    of what it asks for instead.
    """
    positions = dataset.splits["training"]
    if recipe.fit_on:
        copies = audit.leaked(dataset, "validation", ["test"])
        added = dataset.splits["validation"][~copies]
        positions = np.concatenate([positions, added])
    if recipe.leave_out:
        positions = positions[~audit.condemned(dataset, positions)]
    if recipe.subset is not None:
        labels, every = dataset.labels[positions], np.arange(len(positions))
        try:
            kept, _ = train_test_split(
                every, train_size=recipe.subset, stratify=labels, random_state=seed
            )
        except ValueError:
            raise LabError(
                f"subset={recipe.subset} of {len(positions):,} training images leaves"
                " too few for each class: take a larger share."
            ) from None
        positions = positions[kept]
    if np.array_equal(positions, dataset.splits["training"]):
        return dataset.split("training")
    return dataset.images[positions], dataset.labels[positions]


def whiten(network, images, dataset, recipe):
    """Fill the whitening layer of a network that has one from training images."""
    if parts.WHITENING not in [layer.name for layer in network.layers]:
        return
    # Of large images fewer, or memory runs out.
    few = 5000 * 64 * 64 // max(64 * 64, dataset.shape[0] * dataset.shape[1])
    changed = recipe.fit_on or recipe.leave_out
    seen = images if changed else dataset.split("training")[0]
    parts.whiten(network, seen[:few])


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
    training image, `validation_leaked` and `test_leaked` say which. Headline runs keep
    all probabilities; another run keeps of each image the answer, its probability and
    that of the label. Where the job says so, `corrupted_right` holds `statistics.tried`
    for the first 500 validation images, and `corruptions` the names of its columns.
    """

    def ask(images):
        return network.predict(**batches(EVALUATED, images), verbose=0)

    (images, labels), recipe = training, job.recipe
    arrays = {"training_right": ask(images).argmax(axis=1) == labels}
    for split in ["validation"] * (not recipe.fit_on) + ["test"] * job.test:
        images, labels = dataset.split(split)
        arrays[f"{split}_probabilities"] = ask(images).astype(np.float16)
        if recipe.test_time_augmentation:
            weighted = views(images, recipe.views)
            mean = sum(weight * ask(view) for weight, view in weighted)
            arrays[f"{split}_probabilities_tta"] = mean.astype(np.float16)
        arrays[f"{split}_labels"] = labels.astype(np.int16)
        copied = audit.leaked(dataset, split)
        if copied.any():
            arrays[f"{split}_leaked"] = copied
    if job.corrupted:
        few = [part[:500] for part in dataset.split("validation")]
        right = statistics.tried(network, *few, CORRUPTIONS, corrupted)
        arrays["corrupted_right"] = right.to_numpy()
        arrays["corruptions"] = np.array(records.spoilt(CORRUPTIONS))
    analysed = job.test and job.variant == "main"
    return arrays if analysed else records.answers_alone(arrays)

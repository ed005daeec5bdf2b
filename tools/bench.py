"""How fast the training engine is, on this machine.

usage: bench.py      prints a table; takes about four minutes on two CPU cores

The two-convolution network is trained on random pictures of CIFAR-10's size and number, by
`lab.training` and by plain `model.fit` in turn, in one process, after a warm-up of both. An epoch
of ours includes shuffling, augmentation, validation and the checkpoint from which it could resume.
"""
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
from lab import datasets, models, training  # noqa: E402
from lab.augmentation import augment  # noqa: E402
from lab.backend import environment  # noqa: E402
from lab.runs import Checkpoints  # noqa: E402

ROUNDS = 3


def pictures(training=45_000, validation=5_000):
    """Return a Dataset of random pictures of CIFAR-10's size and number."""
    rng, total = np.random.default_rng(0), training + validation
    return replace(datasets.KNOWN["cifar10"], name="random", images=rng.integers(0, 256, (total, 32, 32, 3), np.uint8),
                   labels=rng.integers(0, 10, total),
                   splits={"training": np.arange(training), "validation": np.arange(training, total)})


def timed(function, *arguments, **options):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def main(dataset):
    """Measure, and print the table."""
    recipe = replace(models.two_conv_recipe, epochs=1)
    (images, labels), (seen, seen_labels) = dataset.split("training"), dataset.split("validation")
    targets = np.eye(10, dtype="float32")
    plain = training.build(models.build_two_conv, dataset, recipe, seed=0)
    training.compile_model(plain, recipe, len(images))
    own = training.build(models.build_two_conv, dataset, recipe, seed=0)
    plain.fit(images[:640], targets[labels[:640]], batch_size=recipe.batch_size, verbose=0)
    ours, theirs, pipeline, saving = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder))
            state = training._fit(own, dataset, recipe, 0, checkpoints, training.Progress("bench"))
            ours.append(state["seconds"])
            variables = own.variables + own.optimizer.variables
            saving.append(timed(checkpoints.write, variables, state, own.get_weights()))
        theirs.append(timed(plain.fit, images, targets[labels], batch_size=recipe.batch_size, verbose=0,
                            validation_data=(seen, targets[seen_labels]), validation_batch_size=500))
        rng = np.random.default_rng(0)
        pipeline.append(timed(lambda: augment(images[rng.permutation(len(images))], rng, **recipe.augmentation)))
    ours, theirs, pipeline, saving = map(statistics.median, (ours, theirs, pipeline, saving))
    facts = environment()
    print(f"\n{facts['device']}, {facts['threads']} threads, Keras {facts['keras']} on {facts['backend']} "
          f"{facts['backend_version']}; two convolutions, batch size {recipe.batch_size}, medians of {ROUNDS} rounds")
    for what, value in {
        "an epoch of lab.training": f"{ours:.1f} s, {len(images) / ours:,.0f} images a second",
        "the same under model.fit": f"{theirs:.1f} s",
        "ratio, ours to model.fit": f"{(ours + saving) / theirs:.3f} with its checkpoint",
        "shuffling and augmentation": f"{pipeline:.2f} s, {pipeline / ours:.1%} of an epoch",
        "checkpoint": f"{saving:.2f} s, {saving / ours:.1%} of an epoch",
    }.items():
        print(f"{what:28} {value}")


if __name__ == "__main__":
    main(pictures())

"""Train two well-known networks on CIFAR-10, as long as our earlier recipe took.

They are what a student would otherwise pick. Both are rebuilt from their published
descriptions, and trained on our training split with plain `model.fit`, one seed each;
the test images are opened when the time is over. Seconds count from the first step
after compilation, as ours do.

- The CNN of the TensorFlow tutorial (tensorflow.org/tutorials/images/cnn): Adam, batch
  size 32.
- ResNet-20 of the Keras examples (cifar10_resnet.py, version 1): Adam, batch size 32,
  L2, shifts by a tenth and flips, and a learning rate that falls after 40, 60, 80 and
  90 % of the time.

A third one follows if PyTorch and airbench are installed (tools/airbench.txt), and no
MINUTES are given: airbench94, from which our network descends, as its authors train it.

What they reached is written into data/baselines.json. A network that this file holds
already, from the same machine and after as many seconds, is not trained again.
With another machine, other versions or other seconds the file begins anew.
"""

import interrupt  # noqa: F401

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lab import datasets
from lab.methods.augmentation import augment
from lab.plumbing import backend
from lab.plumbing.backend import batches, environment, keras
from lab.plumbing.files import LabError, relative, write
from lab.plumbing.fingerprint import operations
from lab.plumbing.screen import Line, clock
from lab.runs import read
from notebooks import guarded

ROOT = Path(__file__).resolve().parents[1]
layers = keras.layers
BATCH = 32
# The share of the time that is over, and the learning rate from there.
FALLS = ((0.9, 5e-7), (0.8, 1e-6), (0.6, 1e-5), (0.4, 1e-4), (0, 1e-3))


def tutorial(images):
    """Return the CNN of the TensorFlow tutorial, compiled. 122,570 parameters."""
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def resnet20(images):
    """Return ResNet-20, version 1, of the Keras examples, compiled. 274,442 parameters
    without the mean image.
    """

    def convolve(x, filters, size=3, strides=1):
        return layers.Conv2D(
            filters,
            size,
            strides,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(1e-4),
        )(x)

    def normalise(x):
        return layers.BatchNormalization()(x)

    inputs = keras.Input(images.shape[1:])
    mean = images.mean(axis=0, dtype=np.float64) / 255
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Normalization(axis=(1, 2, 3), mean=mean, variance=np.ones_like(mean))(x)
    x = layers.ReLU()(normalise(convolve(x, 16)))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(normalise(convolve(x, filters, strides=strides)))
            y = normalise(convolve(y, filters))
            if strides == 2:
                x = convolve(x, filters, size=1, strides=2)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    model = keras.Model(
        inputs,
        layers.Dense(10, activation="softmax", kernel_initializer="he_normal")(x),
    )
    model.compile(
        keras.optimizers.Adam(FALLS[-1][1]),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


# The function that builds a network, its augmentation, and whether its rate falls.
BASELINES = {
    "CNN of the TensorFlow tutorial": (tutorial, None, False),
    "ResNet-20 of the Keras examples": (resnet20, {"flip": True, "shift": 3}, True),
}
PEER = "airbench94 in PyTorch"  # what tools/peer.py trains


def train(name, images, labels, seconds, line):
    """Return a baseline trained for `seconds`, with its epochs and seconds; an epoch
    that would end too late is not begun.
    """
    function, changes, falling = BASELINES[name]
    keras.utils.set_random_seed(0)
    model, rng = function(images), np.random.default_rng(0)
    model.optimizer.build(model.trainable_variables)
    variables = model.variables + model.optimizer.variables
    options = {"shuffle": False, "verbose": 0}
    backend.warm_up(model, variables, BATCH, images, labels, options)
    epochs, gone, longest = 0, 0.0, 0.0
    while gone + longest <= seconds:
        start = time.perf_counter()
        if falling:
            model.optimizer.learning_rate = next(
                rate for share, rate in FALLS if gone >= share * seconds
            )
        order = rng.permutation(len(images))
        seen = augment(images[order], rng, **changes) if changes else images[order]
        logs = model.fit(**batches(BATCH, seen, labels[order]), **options).history
        took = time.perf_counter() - start
        epochs, gone, longest = epochs + 1, gone + took, max(longest, took)
        line.show(
            f"{name}: {epochs} epochs, {clock(gone)} of {clock(seconds)}; training"
            f" accuracy {logs['accuracy'][0]:.1%}"
        )
    return model, epochs, gone


def peer(dataset):
    """Return what tools/peer.py reached: airbench94 in PyTorch, in its own process.
    Raises LabError where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder, "images.npz"),
            **{
                f"{split}_{kind}": part
                for split in ("training", "validation", "test")
                for kind, part in zip(("images", "labels"), dataset.split(split))
            },
        )
        command = [sys.executable, ROOT / "tools" / "peer.py", folder]
        if subprocess.run(command).returncode:
            raise LabError("airbench94 was not trained: see the lines above.")
        return json.loads(Path(folder, "peer.json").read_text())


def answers(model, images):
    """Return a model's class for each image, (n,)."""
    return model.predict(**batches(500, images), verbose=0).argmax(axis=1)


def accuracy(digits, labels):
    """Return the accuracy of stored answers, a digit an image."""
    return float(np.mean(np.array(list(digits), int) == labels))


def minutes(text):
    """Return a number of minutes; anything else ends the tool with one sentence."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        sys.exit(f"MINUTES={text}: write a number of minutes above 0, such as 20.")
    return number


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "minutes",
        nargs="?",
        type=minutes,
        metavar="MINUTES",
        help="train each for so long; without it as long as our runs took",
    )
    return made


def main(minutes=None):
    """Train the baselines, print and write what they reached."""
    dataset = datasets.load("cifar10")
    folder = ROOT / "data" / "runs" / "cifar10" / "improved" / "earlier"
    records = [run.record for run in map(read, sorted(folder.glob("seed-*"))) if run]
    if not (minutes or records):
        raise LabError(
            f"{relative(folder)} holds no runs, so how long ours took is not known:"
            " give a time, such as make baselines MINUTES=20."
        )
    seconds = (
        60 * minutes
        if minutes
        else float(np.mean([record["seconds"]["train"] for record in records]))
    )
    images, labels = dataset.split("training")
    path = ROOT / "data" / "baselines.json"
    results = {"environment": environment(), "seconds": round(seconds), "networks": {}}
    before = json.loads(path.read_text()) if path.exists() else {}
    if all(before.get(key) == results[key] for key in ("environment", "seconds")):
        results["networks"] = before["networks"]

    def add(name, facts, line):
        labels = {split: dataset.split(split)[1] for split in ("validation", "test")}
        for key in [key for key in facts if key.endswith(("_answers", "_views"))]:
            split, kind = key.split("_")
            measure = "accuracy" if kind == "answers" else "accuracy_tta"
            facts[f"{split}_{measure}"] = accuracy(facts[key], labels[split])
        results["networks"][name] = facts
        write(path, json.dumps(results, indent=1) + "\n")
        line.show(
            f"{name}: {facts['parameters']:,} parameters, {facts['epochs']} epochs in"
            f" {clock(facts['seconds'])}, test accuracy {facts['test_accuracy']:.1%}",
            last=True,
        )

    for name in [name for name in BASELINES if name not in results["networks"]]:
        line = Line()
        model, epochs, gone = train(name, images, labels, seconds, line)
        add(
            name,
            {
                "parameters": model.count_params(),
                "operations": operations(model),
                "epochs": epochs,
                "seconds": round(gone, 1),
                "images_per_second": round(epochs * len(images) / gone),
            }
            | {
                f"{split}_answers": "".join(
                    map(str, answers(model, dataset.split(split)[0]))
                )
                for split in ("validation", "test")
            },
            line,
        )
    if not minutes and PEER not in results["networks"]:
        if find_spec("torch") and find_spec("airbench"):
            add(PEER, peer(dataset), Line())
        else:
            print(f"{PEER} is left out: .venv/bin/pip install -r tools/airbench.txt")


if __name__ == "__main__":
    guarded(main, parser().parse_args().minutes)

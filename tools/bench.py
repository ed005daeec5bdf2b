"""Measure how fast the training engine is on this machine, and print a table.

The two-convolution network is trained on random pictures of CIFAR-10's size, by
`lab.training` and by plain `model.fit` in turn, in one process, after a warm-up of
both. Ours includes shuffling, augmentation, validation and the checkpoints from which
it could resume. Other work on the machine only ever adds time, so the fastest round
counts. Then come the improved network's training beside what the machine can multiply
at most, and the speed of the demo.
"""

import interrupt  # noqa: F401

import argparse
import contextlib
import importlib.util
import json
import os
import tempfile
import time
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

import workers
from apps import faces
from lab import datasets, engine, models, training
from lab.plumbing.backend import batches, cores, environment, keras
from lab.plumbing.checkpoints import Checkpoints
from lab.plumbing.fingerprint import operations
from lab.prediction import Predictor
from lab.recipes import Job
from notebooks import guarded
from plan import T4
from screenshot import served

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
EPOCHS = 3


def pictures(training=18_000, validation=2_000):
    """Return a Dataset of random pictures of CIFAR-10's size."""
    rng, total = np.random.default_rng(0), training + validation
    return replace(
        datasets.KNOWN["cifar10"],
        name="random",
        images=rng.integers(0, 256, (total, 32, 32, 3), np.uint8),
        labels=rng.integers(0, 10, total),
        splits={
            "training": np.arange(training),
            "validation": np.arange(training, total),
        },
    )


def timed(function, *arguments, **options):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def throughput(dataset, precision, steps):
    """Return the images a second of a training with the recipe of CIFAR-10, the fastest
    of three times `steps` steps, and the operations that an image costs.
    """
    recipe, (images, labels) = (
        replace(models.improved_recipes["cifar10"], precision=precision),
        dataset.split("training"),
    )
    network = training.build(models.build_improved, dataset, recipe, seed=0)
    training.compile_model(network, recipe, len(images))
    few = images[: steps * recipe.batch_size]
    fed = batches(
        recipe.batch_size, few, np.eye(10, dtype="float32")[labels[: len(few)]]
    )
    network.fit(**fed, shuffle=False, verbose=0)
    return len(few) / min(
        timed(network.fit, **fed, shuffle=False, verbose=0) for _ in range(3)
    ), 3 * operations(network)


def product():
    """Return the operations a second of a large matrix product, the fastest of four."""
    square = keras.random.normal((4096, 4096), seed=0)
    return (
        2
        * 4096**3
        / min(
            timed(lambda: keras.ops.convert_to_numpy(keras.ops.matmul(square, square)))
            for _ in range(4)
        )
    )


def demo():
    """Return the pictures a second of a 640 x 480 video with one face, and the seconds
    of a single photo.
    """
    portrait = np.asarray(
        Image.fromarray(data.astronaut()).resize((640, 480))
    )  # of scikit-image, in the public domain
    watcher = faces.Watcher(Predictor("fer2013"))
    film = [np.roll(portrait, 2 * i, axis=1) for i in range(50)]
    watcher.next(film[0])
    seconds = timed(lambda: [watcher.next(picture) for picture in film])
    return len(film) / seconds, min(timed(watcher.picture, portrait) for _ in range(5))


def opening():
    """Return the seconds from the start of the demo's page until a browser gets it, and
    until its first network is ready.
    """
    start, seconds = time.perf_counter(), []
    with served() as address:
        for path in ("", "networks"):
            urllib.request.urlopen(f"{address}/{path}", timeout=600).close()
            seconds.append(time.perf_counter() - start)
    return seconds


def spreading():
    """Print how long twelve short trainings take in one process, in two, and on a Dask
    cluster of two workers, and what follows for the whole plan.
    """
    digits = datasets.load("digits")
    recipe = replace(models.two_conv_recipe, epochs=4)
    first = Job("digits", "two_conv", "bench", 0, recipe, models.build_two_conv)
    jobs, runs, walls = [replace(first, seed=seed) for seed in range(12)], {}, {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways = {"one process": {}, "two processes": {"processes": 2}}
        if importlib.util.find_spec("distributed"):
            distributed = importlib.import_module("distributed")
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(max(1, cores() // 2))
            cluster = distributed.LocalCluster(2, threads_per_worker=1)
            del os.environ["TF_NUM_INTRAOP_THREADS"]
            address = stack.enter_context(cluster).scheduler_address
            ways["a Dask cluster of two workers"] = {"scheduler": address}
        for name, way in ways.items():
            start, place = time.perf_counter(), Path(folder) / name
            tasks = [
                workers.Task(job, digits, partial(stored, job, digits, place), 1.0)
                for job in jobs
            ]
            if way:
                runs[name] = workers.spread(tasks, **way)
            else:
                runs[name] = [task.store() for task in tasks]
            walls[name] = time.perf_counter() - start
    print()
    besides = {}
    for name, wall in walls.items():
        working = sum(sum(run.record["seconds"].values()) for run in runs[name])
        besides[name] = ((2 if ways[name] else 1) * wall - working) / 12
        print(
            f"{name:30} {wall:.1f} s for 12 trainings, ratio"
            f" {walls['one process'] / wall:.2f}; {besides[name]:.1f} s a run besides"
            " training"
        )
    records = [
        json.loads(path.read_text())
        for path in (ROOT / "data" / "runs").rglob("run.json")
    ]
    pflop = sum(record["pflop"] for record in records)
    seconds = pflop * 1e15 / T4["float32"] + besides["two processes"] * len(records)
    print(
        f"{len(records)} runs, {pflop:.1f} PFLOP: on one T4 about"
        f" {seconds / 3600:.1f} hours, on eight {seconds / 8 / 3600:.1f} (estimates,"
        f" from {T4['float32'] / 1e12} TFLOP/s in float32)"
    )


def stored(job, dataset, folder, trainer=None):
    """Train a job, store it, and return its run."""
    return engine.train([job], dataset, folder, trainer=trainer)[0]


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__,
        epilog="It takes about seven minutes on two CPU cores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--workers",
        action="store_true",
        help="measure instead what two processes and two Dask workers gain",
    )
    return made


def main(dataset):
    """Measure, and print the table."""
    recipe = replace(models.two_conv_recipe, epochs=EPOCHS)
    job = Job(dataset.name, "two_conv", "main", 0, recipe, models.build_two_conv)
    (images, labels), (seen, seen_labels) = (
        dataset.split("training"),
        dataset.split("validation"),
    )
    targets = np.eye(10, dtype="float32")
    plain = training.build(models.build_two_conv, dataset, recipe, seed=0)
    training.compile_model(plain, recipe, len(images))
    own = training.build(models.build_two_conv, dataset, recipe, seed=0)
    plain.fit(
        images[:640], targets[labels[:640]], batch_size=recipe.batch_size, verbose=0
    )
    ours, theirs, pipeline, saving = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder))
            state = training.run_epochs(
                own, (images, labels), dataset, job, checkpoints, lambda text: None
            )
            variables = own.variables + own.optimizer.variables
            saving.append(timed(checkpoints.write, variables, state, own.get_weights()))
            ours.append(
                sum(row["seconds"] for row in state["history"]) + EPOCHS * saving[-1]
            )
        theirs.append(
            timed(
                plain.fit,
                images,
                targets[labels],
                batch_size=recipe.batch_size,
                epochs=EPOCHS,
                verbose=0,
                validation_data=(seen, targets[seen_labels]),
                validation_batch_size=500,
            )
        )
        pipeline.append(timed(training.one_epoch, images, recipe, 0, 0))
    epoch, plain_epoch, pipeline, saving = (
        min(ours) / EPOCHS,
        min(theirs) / EPOCHS,
        min(pipeline),
        min(saving),
    )
    rounds = np.array(ours) / theirs
    facts = environment()
    print(
        f"\n{facts['device']}, {facts['threads']} threads, Keras {facts['keras']} on"
        f" {facts['backend']} {facts['backend_version']}; two convolutions, batch size"
        f" {recipe.batch_size}, {len(images):,} images, {EPOCHS} epochs, the fastest of"
        f" {ROUNDS} rounds"
    )
    images_a_second, operations_an_image = throughput(dataset, "float32", steps=4)
    in_bfloat16, _ = throughput(dataset, "mixed_bfloat16", steps=1)
    rate, latency = demo()
    page = "{:.1f} s after the start, and answers after {:.1f} s".format(*opening())
    for what, value in {
        "an epoch of lab.training": (
            f"{epoch:.2f} s, {len(images) / epoch:,.0f} images a second"
        ),
        "the same under model.fit": (
            f"{plain_epoch:.2f} s, {len(images) / plain_epoch:,.0f} images a second"
        ),
        "ratio, ours to model.fit": (
            f"{epoch / plain_epoch:.3f} with checkpoints (single rounds"
            f" {rounds.min():.3f} to {rounds.max():.3f})"
        ),
        "shuffling and augmentation": (
            f"{pipeline:.2f} s, {pipeline / epoch:.1%} of an epoch, done while another"
            " is trained"
        ),
        "checkpoint": f"{saving:.3f} s, {saving / epoch:.1%} of an epoch",
        "matrix product, 4,096 squared": f"{product() / 1e9:,.0f} GFLOP/s",
        "training the improved network": (
            f"{images_a_second:,.0f} images a second,"
            f" {operations_an_image * images_a_second / 1e9:,.0f} GFLOP/s"
        ),
        "the same in mixed bfloat16": f"{in_bfloat16:,.0f} images a second",
        "faces in a video, 640 x 480": (
            f"{rate:.0f} pictures a second; a single photo {1000 * latency:.0f} ms"
        ),
        "the demo's page opens": page,
    }.items():
        print(f"{what:30} {value}")


if __name__ == "__main__":
    alone = not parser().parse_args().workers
    guarded((lambda: main(pictures())) if alone else spreading)

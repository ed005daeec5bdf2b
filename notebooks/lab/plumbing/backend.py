"""Keras and TensorFlow: imported quietly, fed with arrays, asked what they compute
on.
"""

import gc
import importlib
import os
import platform
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .files import LabError


@contextmanager
def _quiet():
    """Send what libraries write while they are imported to nowhere (drivers, oneDNN,
    absl).
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# TensorFlow uses oneDNN unasked on the newest processors only; on an older one it is
# 1.8 times as fast (measured).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Or TensorFlow takes all memory of a graphics card when it starts.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
MEND = "install what requirements.txt lists: pip install -r requirements.txt"
OTHER = (
    "Keras is set to compute with {}, this project computes with TensorFlow alone:"
    " unset KERAS_BACKEND and start anew."
)
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise LabError(OTHER.format(os.environ["KERAS_BACKEND"]))
try:
    with _quiet():
        import keras
        import tensorflow as tf
except ImportError as error:
    raise LabError(f"Keras or TensorFlow is not installed ({error}): {MEND}") from None
if int(keras.__version__.split(".")[0]) < 3:
    raise LabError(f"Keras {keras.__version__} is too old, Keras 3 is needed: {MEND}")
if keras.config.backend() != "tensorflow":  # it was imported before this module
    raise LabError(OTHER.format(keras.config.backend()))
# Or TensorFlow warns of tracing again and again: many small networks in one process do.
tf.get_logger().setLevel("ERROR")
gc.freeze()  # or Python looks through all that was imported when it ends: 2 s


def accelerator():
    """Return the name of the graphics card that Keras computes on, or None."""
    cards = tf.config.list_physical_devices("GPU")
    return (
        cards
        and tf.config.experimental.get_device_details(cards[0]).get(
            "device_name", "GPU"
        )
        or None
    )


def out_of_memory(error):
    """Return whether an exception says that the memory of the device or of the computer
    is full.
    """
    return type(error).__name__ in (
        "ResourceExhaustedError",
        "OutOfMemoryError",
        "MemoryError",
        "_ArrayMemoryError",
    ) or "RESOURCE_EXHAUSTED" in str(error)


@contextmanager
def enough_memory(sentence):
    """Raise LabError with a sentence where what stands inside runs out of memory."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise LabError(sentence) from None


def batches(size, x, y=None):
    """Return arguments for fit, evaluate and predict that feed them `size` examples at
    a time, in this order.

    From plain arrays Keras makes a tf.data.Dataset whose autotuning thread sleeps for
    up to a minute, and at the end of each call TensorFlow waits for it; a Dataset
    without autotuning ends at once.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    with tf.device("CPU:0"):  # or a graphics card holds the whole array
        examples = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
    return {"x": examples.batch(size).prefetch(2).with_options(options)}


EVALUATED = 500  # images at a time when a network is evaluated or asked


def warm_up(network, variables, size, images, targets, options):
    """Return the seconds that compiling the steps of training and evaluation takes; the
    network is left as it was.

    The steps are fed as in training: a full batch, and one of the size that is left at
    the end of an epoch. options: further arguments of `fit`.
    """
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    few = min(len(images), size + len(images) % size)
    start = time.perf_counter()
    network.fit(**batches(size, images[:few], targets[:few]), **options)
    network.evaluate(**batches(EVALUATED, images[:few], targets[:few]), verbose=0)
    seconds = time.perf_counter() - start
    for variable, value in zip(variables, before):
        variable.assign(value)
    return seconds


def apart(function, *arguments, **options):
    """Return what a function that builds networks returns; the caller's state stays:
    Python's and NumPy's random numbers, Keras' names, policy and seeds.

    It runs in a thread of its own: Keras keeps names, dtype policy and random seeds for
    each thread.
    """
    before = random.getstate(), np.random.get_state()
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *arguments, **options).result()
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def others(since=None):
    """Return what is needed to ask later, or, asked again with it, the share of the
    machine that other processes used in between, from 0 to 1: None where the system
    does not tell.
    """
    try:
        fields = [
            int(field)
            for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        ]
    except (OSError, ValueError, IndexError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    whole, idle = sum(fields) / tick, (fields[3] + fields[4]) / tick
    now = {"whole": whole, "others": whole - idle - time.process_time()}
    if since is None:
        return now
    return (now["others"] - since["others"]) / max(now["whole"] - since["whole"], 1e-9)


def hand_back():
    """In Colab, give the runtime and its graphics card back; elsewhere do nothing.

    Source: google.colab.runtime.unassign, in the package that Colab itself installs.
    """
    if "google.colab" in sys.modules:
        print(
            "The runtime is handed back now: what was not downloaded is gone with it.",
            flush=True,
        )
        time.sleep(2)  # or the browser misses the sentence
        importlib.import_module("google.colab.runtime").unassign()


def processor():
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip()
            for line in lines
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores():
    """Return how many CPU threads this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def environment(precision="float32"):
    """Return what a run was computed with: versions, device, CPU threads and
    precision.
    """
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": "tensorflow",
        "backend_version": tf.__version__,
        "device": accelerator() or processor(),
        "threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS") or cores()),
        "precision": precision,
    }


def setup_line():
    """Return one line for the Setup cell: versions, device, profile."""
    facts, profile = environment(), os.environ.get("LAB_PROFILE")
    return (
        f"Python {facts['python']} · TensorFlow {facts['backend_version']} · Keras"
        f" {facts['keras']} · {facts['device']}, {facts['threads']} CPU threads ·"
        " profile " + (f"{profile} (from LAB_PROFILE)" if profile else "as set below")
    )

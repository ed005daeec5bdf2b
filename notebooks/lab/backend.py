"""The one place that knows which backend Keras runs on."""
import importlib
import os
import platform
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .files import LabError


@contextmanager
def _quiet():
    """Send what libraries write while they are imported to nowhere (drivers, oneDNN, absl)."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# TensorFlow uses oneDNN unasked on the newest processors only; on an older one it is 1.8 times as fast (measured).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
MEND = "install what requirements.txt lists: pip install -r requirements.txt"
try:
    with _quiet():
        import keras
except ImportError as error:
    raise LabError(f"Keras or its backend is not installed ({error}): {MEND}") from None
if int(keras.__version__.split(".")[0]) < 3:
    raise LabError(f"Keras {keras.__version__} is too old, Keras 3 is needed: {MEND}")
with _quiet():
    _BACKEND = importlib.import_module(keras.config.backend())
if keras.config.backend() == "tensorflow":
    _BACKEND.get_logger().setLevel("ERROR")  # many small networks in one process are what notebook 05 wants


def accelerator():
    """Return the name of the graphics card that Keras computes on, or None."""
    name = keras.config.backend()
    if name == "tensorflow":
        cards = _BACKEND.config.list_physical_devices("GPU")
        return cards and _BACKEND.config.experimental.get_device_details(cards[0]).get("device_name", "GPU") or None
    if name == "jax":
        device = _BACKEND.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    return _BACKEND.cuda.get_device_name(0) if _BACKEND.cuda.is_available() else None


def out_of_memory(error):
    """Return whether an exception says that the memory of the device or of the computer is full."""
    return (type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError", "_ArrayMemoryError")
            or "RESOURCE_EXHAUSTED" in str(error))


def batches(size, x, y=None):
    """Return arguments for fit, evaluate and predict that feed them `size` examples at a time, in this order.

    From plain arrays Keras makes a tf.data.Dataset whose autotuning thread sleeps for up to a minute,
    and at the end of each call TensorFlow waits for it; a Dataset without autotuning ends at once.
    """
    if keras.config.backend() != "tensorflow":
        return {"x": x, "batch_size": size} | ({} if y is None else {"y": y})
    options = _BACKEND.data.Options()
    options.autotune.enabled = False
    examples = _BACKEND.data.Dataset.from_tensor_slices(x if y is None else (x, y))
    return {"x": examples.batch(size).prefetch(2).with_options(options)}


def gradient(function, x):
    """Return the gradient of a scalar function of Keras operations at the array `x`, an array of its shape."""
    name, point = keras.config.backend(), keras.ops.convert_to_tensor(x)
    if name == "jax":
        return np.asarray(_BACKEND.grad(function)(point))
    if name == "torch":
        point = point.detach().requires_grad_()
        return keras.ops.convert_to_numpy(_BACKEND.autograd.grad(function(point), point)[0])
    with _BACKEND.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return tape.gradient(value, point).numpy()


def hand_back():
    """In Colab, give the runtime and its graphics card back; elsewhere do nothing.

    Source: google.colab.runtime.unassign, in the package that Colab itself installs.
    """
    if "google.colab" in sys.modules:
        print("The runtime is handed back now: what was not downloaded is gone with it.", flush=True)
        time.sleep(2)  # or the browser misses the sentence
        importlib.import_module("google.colab.runtime").unassign()


def processor():
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(precision="float32"):
    """Return what a run was computed with: versions, device, CPU threads and precision."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "backend_version": _BACKEND.__version__,
        "device": accelerator() or processor(),
        "threads": threads,
        "precision": precision,
    }

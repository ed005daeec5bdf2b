"""Trainings in several processes of this machine, or on the workers of a Dask cluster.

Both are executors of concurrent.futures. A worker trains and hands over arrays; this
process alone writes runs.
"""

import multiprocessing
import os
import pickle
import platform
import queue
import random
import shutil
import signal
import sys
import time
import warnings
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

import lab
from lab import datasets, engine
from lab.datasets import Dataset
from lab.plumbing import files
from lab.plumbing.backend import cores, keras, tf
from lab.plumbing.files import LabError, sha256
from lab.plumbing.fingerprint import fingerprint
from lab.plumbing.screen import Line, clock
from lab.recipes import Job

DEATHS = 3  # of its workers, after which a run is given up: Dask's default as well
PATIENCE = 10  # seconds in which a scheduler must answer
EVERY = 5  # seconds between two progress lines
DIED = (
    "its worker died {} times, most often for want of memory: train it on fewer workers"
)


# --- what a worker does; a Dask worker gets these functions by value, and needs `lab`


def facts():
    """Return what must be the same on all workers: {its name: its version}."""
    code = sorted(Path(lab.__file__).parent.rglob("*.py"))
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "the code in notebooks/lab": sha256(*code)[:8],
    }


def differing(there, here):
    """Return a sentence's end on the first version that differs, or None."""
    for name, version in there.items():
        if here.get(name) != version:
            return f"{name} is {version} there and {here.get(name)} here"
    return None


def trained(job, mark, expected):
    """Train a job and return its `Result`, or a sentence that says why it cannot be
    trained here.

    mark: its fingerprint; expected: the `facts` of who asks.
    """
    host = f"The worker on {platform.node()}"
    if difference := differing(facts(), expected):
        return f"{host} differs: {difference}. Install the same on both."
    dataset = datasets.load(job.dataset)
    if not dataset.available:
        return (
            f"{host} has no images of {dataset.title}: copy them there, into data/raw"
            " or where its LAB_DATA says, or stop this worker."
        )
    if fingerprint(job, dataset) != mark:
        return f"{host} has other images of {dataset.title}: copy them there anew."
    return engine.fit(job, dataset)


def forget(mark):
    """Delete a worker's checkpoints of a run that is stored."""
    shutil.rmtree(folder_of(mark), ignore_errors=True)


def folder_of(mark):
    """Return the folder of a run's checkpoints, without `lab.engine`: a worker that
    starts would import it in two threads at once.
    """
    return files.ROOT / "build" / "checkpoints" / mark[:16]


def prepare(environment):
    """Begin a process: its share of the machine; Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ |= environment
    sys.stdout = open(os.devnull, "w")


# --- the two kinds of workers


class Processes:
    """So many processes of this machine. They share its CPU threads evenly; where there
    are graphics cards, each process has one of its own.

    Raises LabError for less than one process, and for more than there are cards.
    """

    def __init__(self, count):
        if count < 1:
            raise LabError(f"WORKERS is {count}: set it to 1 or more.")
        cards = [str(i) for i in range(len(tf.config.list_physical_devices("GPU")))]
        if cards and count > len(cards):
            raise LabError(
                f"WORKERS is {count}, but a graphics card carries one training at a"
                f" time, and {len(cards)} can be seen here: set WORKERS={len(cards)}."
            )
        if cards and os.environ.get("CUDA_VISIBLE_DEVICES"):
            cards = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        threads = str(max(1, cores() // count))
        shared = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
        self.count, self.closed, self.free = count, False, queue.Queue()
        self.started = {}
        for place in range(count):
            own = {"CUDA_VISIBLE_DEVICES": cards[place]} if cards else {}
            self.begin(place, shared | own)

    def begin(self, place, environment):
        """Start a process in a place, and offer it."""
        context = multiprocessing.get_context("spawn")  # TensorFlow does not fork
        executor = ProcessPoolExecutor(1, context, prepare, (environment,))
        self.started[place] = executor, executor.submit(os.getpid)
        self.free.put((place, environment, executor))

    def train(self, job, mark, expected):
        """Return what `trained` returns in the next free process; where that one dies,
        in another.
        """
        for _ in range(DEATHS):
            place, environment, executor = self.free.get()
            try:
                result = executor.submit(trained, job, mark, expected).result()
            except BrokenProcessPool:
                if self.closed:
                    raise
                self.begin(place, environment)
            except BaseException:
                self.free.put((place, environment, executor))
                raise
            else:
                self.free.put((place, environment, executor))
                return result
        raise LabError(DIED.format(DEATHS))

    def running(self):
        """Return how many trainings can run now."""
        return self.count

    def forget(self, mark):
        """Do nothing: checkpoints on this machine are deleted when a run is stored."""

    def close(self):
        """End all processes, in the midst of their work."""
        self.closed = True
        for executor, pid in self.started.values():
            known = pid.done() and not pid.cancelled() and not pid.exception()
            if known:
                with suppress(ProcessLookupError):
                    os.kill(pid.result(), signal.SIGTERM)
            executor.shutdown(wait=known, cancel_futures=True)


class Cluster:
    """The workers of a Dask cluster, whose scheduler has an address such as
    tcp://host:8786. Where workers offer the resource GPU, trainings go to these.

    Raises LabError where the package distributed is missing, no scheduler answers, or a
    worker has other versions or more than one thread.
    """

    def __init__(self, address):
        try:
            import cloudpickle
            import distributed
        except ImportError as error:
            raise LabError(
                f"A cluster needs the package {error.name}: pip install -r"
                " requirements-cluster.txt"
            ) from None
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        self.address, self.count = address, None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", distributed.versions.VersionMismatchWarning
                )
                self.client = distributed.Client(
                    address, timeout=PATIENCE, set_as_default=False
                )
        except (OSError, ValueError, TypeError):
            raise LabError(
                f"No Dask scheduler answers at {address}: start one with dask"
                " scheduler, or correct SCHEDULER."
            ) from None
        versions, here = self.client.get_versions(), {}
        for where in ("client", "scheduler", *versions["workers"]):
            about = versions.get(where) or versions["workers"][where]
            packages = about["packages"]
            there = {
                "Python": ".".join(packages["python"].split(".")[:2]),
                "distributed": packages["distributed"],
            }
            here = here or there
            if difference := differing(there, here):
                who = "The scheduler" if where == "scheduler" else f"The worker {where}"
                raise self.refused(
                    f"{who} differs: {difference}. Install the same on both."
                )
        threads = self.client.nthreads()
        for worker, count in threads.items():
            if count != 1:
                raise self.refused(
                    f"The worker {worker} has {count} threads, and a worker trains one"
                    " network at a time: start it with --nthreads 1."
                )
        if not threads:
            print(f"No worker is at {address} yet: waiting for the first.")
        offered = self.client.run_on_scheduler(
            lambda dask_scheduler: {
                name
                for worker in dask_scheduler.workers.values()
                for name in worker.resources
            }
        )
        needed = {"resources": {"GPU": 1}} if "GPU" in offered else {}
        self.executor = self.client.get_executor(pure=False, **needed)

    def refused(self, sentence):
        """Return the LabError of a cluster that cannot be used, which is left."""
        self.client.close()
        return LabError(sentence)

    def train(self, job, mark, expected):
        """Return what `trained` returns on a worker; where that one dies, on another.

        Raises LabError where the cluster gives up.
        """
        try:
            call = packed(trained, job, mark, expected)
            return self.executor.submit(call).result()
        except ModuleNotFoundError as error:
            return (
                f"A worker does not find the package {error.name}: start it in this"
                " project's environment (docs/clusters.md)."
            )
        except CancelledError:
            return (
                f"The scheduler at {self.address} is gone: start it and its workers"
                " anew."
            )
        except Exception as error:
            if type(error).__name__ == "KilledWorker":
                raise LabError(DIED.format(DEATHS + 1)) from None
            raise

    def running(self):
        """Return how many trainings can run now."""
        try:
            return len(self.client.nthreads())
        except Exception:  # of a scheduler that is gone; the trainings will say so
            return 0

    def forget(self, mark):
        """Delete the checkpoints of a stored run that workers hold on their own
        disks.
        """
        with suppress(Exception):  # a worker that is just going
            self.client.run(packed(forget, mark), on_error="ignore")

    def close(self):
        """Cancel all trainings and leave the cluster."""
        self.executor.shutdown(wait=False)
        self.client.close()


def packed(function, *arguments):
    """Return a function that calls a function of this module with some arguments, and
    that a scheduler can pass on which has neither this module nor `lab`.
    """
    import cloudpickle

    content = cloudpickle.dumps((function, arguments))

    def call():
        # Keras takes the seeds of layers from Python's random numbers, and Dask draws
        # from them in another thread: it gets its own.
        for name, module in list(sys.modules.items()):
            own = name.startswith(("dask.", "distributed."))
            if own and getattr(module, "random", None) is random:
                module.random = random.Random()
        function, arguments = pickle.loads(content)
        return function(*arguments)

    return call


# --- the work


@dataclass(frozen=True)
class Task:
    """A job, its data set (without images will do), and a function that is called with
    a trainer, as `engine.train` takes it, and returns the stored run; cost: in any
    unit.
    """

    job: Job
    dataset: Dataset
    store: Callable
    cost: float

    @property
    def mark(self):
        """The fingerprint of the run."""
        return fingerprint(self.job, self.dataset)

    @property
    def share(self):
        """The share of the epochs that the checkpoints on this disk hold."""
        names = [path.name for path in folder_of(self.mark).glob("[0-9]*.npz")]
        epochs = max([int(name[:4]) for name in names], default=0)
        return epochs / self.job.recipe.epochs


def spread(tasks, processes=None, scheduler=None):
    """Train all tasks, in so many processes or on the cluster of a scheduler, and
    return their runs.

    One line says how far they are. Raises LabError where a worker cannot be used, and
    in the end where trainings failed; what was finished is stored.
    """
    if not tasks:
        return []
    pool = Cluster(scheduler) if scheduler else Processes(processes)
    expected, unfit = facts(), []

    def train(task):
        def trainer(*_):
            result = pool.train(task.job, task.mark, expected)
            if isinstance(result, str):
                unfit.append(result)
                raise LabError(result)
            return result

        run = task.store(trainer)
        pool.forget(task.mark)
        return run

    threads = ThreadPoolExecutor(pool.count or len(tasks))
    try:
        line, progress = Line(), Progress(tasks)
        futures = {threads.submit(train, task): task for task in tasks}
        waiting = set(futures)
        while waiting:
            ended, waiting = wait(waiting, EVERY, FIRST_COMPLETED)
            if unfit:
                raise LabError(unfit[0])
            for future in ended:
                error = future.exception()
                progress.end(futures[future], error)
                if error:
                    why = error if isinstance(error, LabError) else repr(error)
                    line.show(f"{futures[future].job.name} failed: {why}", last=True)
            text = progress.text(
                [futures[future] for future in waiting], pool.running()
            )
            line.show(text, last=not waiting)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        pool.close()
    if progress.failed:
        raise LabError(
            f"{progress.failed} of {len(tasks)} trainings failed for the reasons"
            " above: the same command trains them again."
        )
    return [future.result() for future in futures]


class Progress:
    """How far some tasks are; their costs say how long the others will take."""

    def __init__(self, tasks):
        self.began, self.done, self.failed, self.cost = time.monotonic(), 0, 0, 0.0
        self.before = {task.job.name: task.share for task in tasks}

    def end(self, task, error):
        """Count a task that has ended, well or with an error."""
        if error:
            self.failed += 1
        else:
            self.done += 1
            self.cost += task.cost * (1 - self.before[task.job.name])

    def text(self, waiting, places):
        """Return the line on the tasks that have not ended, of which as many as there
        are `places` are running.
        """
        running, cost, left = min(len(waiting), places), self.cost, 0.0
        for task in waiting:
            share = task.share
            left += task.cost * (1 - share)
            cost += task.cost * max(0.0, share - self.before[task.job.name])
        text = (
            f"{self.done} done, {running} running, {len(waiting) - running} waiting,"
            f" {self.failed} failed"
        )
        if waiting and cost:
            seconds = (time.monotonic() - self.began) * left / cost
            text += f"; about {clock(seconds)} left"
        return text

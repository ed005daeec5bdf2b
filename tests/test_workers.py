"""Trainings in several processes, and on a cluster."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest

import workers
from lab import engine, models
from lab.plumbing.files import LabError
from lab.recipes import Job


def tasks_of(digits, recipe, folder, seeds):
    """Return the tasks of a small dense network, one a seed. It is so small that its
    sums are the same on any number of threads.
    """
    recipe = replace(recipe, batch_size=16, model_arguments={"units": 8})
    job = Job("digits", "dense", "main", 0, recipe, models.build_dense, test=True)

    def store(job):
        def with_trainer(trainer):
            return engine.train([job], digits, folder, trainer=trainer)[0]

        return with_trainer

    jobs = [replace(job, seed=seed) for seed in seeds]
    return [workers.Task(job, digits, store(job), 1.0) for job in jobs]


def test_processes_share_the_threads_have_a_card_each_and_die_3_times(monkeypatch):
    class Executor:
        def __init__(self, count, context, prepare, environment):
            made.append(*environment)

        def submit(self, function, *arguments):
            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

    made = []
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Executor)
    monkeypatch.setattr(workers, "cores", lambda: 9)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cards = lambda kind: ["a", "b"]  # noqa: E731
    monkeypatch.setattr(workers.tf.config, "list_physical_devices", cards)
    pool = workers.Processes(2)
    assert [one["TF_NUM_INTRAOP_THREADS"] for one in made] == ["4", "4"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in made] == ["0", "1"]
    with pytest.raises(LabError, match="its worker died 3 times"):
        pool.train("job", "mark", {})
    assert len(made) == 2 + 3


def weights(runs):
    return {run.name: run.record["weights_sha256"] for run in runs}


def kill_in_mid_run(tasks, pids):
    """Kill the processes that `pids` returns as soon as a task has a checkpoint; return
    the thread that does it, and the list of those that it killed.
    """
    folders, killed = [workers.folder_of(task.mark) for task in tasks], []

    def watch():
        end = time.monotonic() + 300
        while not any(list(folder.glob("[0-9]*.npz")) for folder in folders):
            if time.monotonic() > end:
                return
            time.sleep(0.005)
        for pid in pids():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, killed


@pytest.mark.long
def test_in_two_processes_that_are_killed_all_weights_are_those_of_one(
    digits, recipe, tmp_path, capsys
):
    recipe = replace(recipe, epochs=12)
    seeds = range(100, 103)
    alone = [
        task.store(None) for task in tasks_of(digits, recipe, tmp_path / "one", seeds)
    ]
    tasks = tasks_of(digits, recipe, tmp_path / "two", seeds)
    thread, killed = kill_in_mid_run(
        tasks, lambda: [child.pid for child in multiprocessing.active_children()]
    )
    runs = workers.spread(tasks, processes=2)
    thread.join()
    assert killed and weights(runs) == weights(alone)
    said = capsys.readouterr().out
    assert "3 done, 0 running, 0 waiting, 0 failed" in said
    assert not multiprocessing.active_children()


class Here:
    """A pool of one that trains in this process."""

    count = 1

    def train(self, job, mark, expected):
        if job.seed == 1:
            raise LabError("no memory")
        return workers.trained(job, mark, expected)

    def running(self):
        return 1

    def forget(self, mark):
        pass

    def close(self):
        self.closed = True


def test_a_training_that_fails_is_named_the_others_are_stored_and_the_line_counts(
    digits, recipe, tmp_path, monkeypatch, capsys
):
    pool = Here()
    monkeypatch.setattr(workers, "Processes", lambda count: pool)
    tasks = tasks_of(digits, recipe, tmp_path, (0, 1, 2))
    with pytest.raises(LabError, match="1 of 3 trainings failed for the reasons above"):
        workers.spread(tasks, processes=1)
    said = capsys.readouterr().out
    assert "digits/dense/main/seed-1 failed: no memory" in said
    assert "2 done, 0 running, 0 waiting, 1 failed" in said
    assert len(list(tmp_path.rglob("run.json"))) == 2 and pool.closed


def test_a_process_whose_training_fails_trains_the_next(monkeypatch):
    class Executor:
        def __init__(self, *_):
            pass

        def submit(self, function, *arguments):
            future = Future()
            if "bad" in arguments:
                future.set_exception(LabError("no memory"))
            else:
                future.set_result("trained")
            return future

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Executor)
    pool, said = workers.Processes(1), []
    with pytest.raises(LabError, match="no memory"):
        pool.train("bad", "mark", {})
    ask = lambda: said.append(pool.train("good", "mark", {}))  # noqa: E731
    thread = threading.Thread(target=ask, daemon=True)  # may wait for ever
    thread.start()
    thread.join(10)
    assert said == ["trained"]


def test_a_worker_that_cannot_train_says_so_and_ends_the_command(
    digits, recipe, tmp_path, monkeypatch
):
    (task,) = tasks_of(digits, recipe, tmp_path, [0])
    facts = workers.facts()

    def said(mark=task.mark, **changed):
        return workers.trained(task.job, mark, facts | changed)

    end = " differs: Keras is .* there and 2.0 here. Install the same on both"
    pool = Here()
    pool.train = lambda *_: said(Keras="2.0")
    monkeypatch.setattr(workers, "Processes", lambda count: pool)
    with pytest.raises(LabError, match=end):
        workers.spread([task], processes=1)
    assert pool.closed
    assert "has other images of Digits: copy them there anew" in said(mark="other")
    empty = replace(digits, images=None)
    monkeypatch.setattr(workers.datasets, "load", lambda name: empty)
    assert "has no images of Digits: copy them there, into data/raw or" in said()


def test_too_many_or_too_few_processes_are_one_sentence(monkeypatch):
    with pytest.raises(LabError, match="WORKERS is 0: set it to 1 or more"):
        workers.Processes(0)
    config = workers.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["card"])
    with pytest.raises(LabError, match="1 can be seen here: set WORKERS=1"):
        workers.Processes(2)


def test_a_cluster_without_its_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LabError, match="pip install -r requirements-cluster.txt"):
        workers.Cluster("tcp://127.0.0.1:8786")


def test_a_scheduler_that_is_not_there_is_one_sentence(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://host"):
        with pytest.raises(LabError, match=f"No Dask scheduler answers at {address}"):
            workers.Cluster(address)


@pytest.fixture
def cluster():
    """A cluster on this machine, of two workers that offer a graphics card each."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options, resources={"GPU": 1}) as made:
        yield made


@pytest.mark.long
def test_on_a_cluster_whose_worker_is_killed_all_weights_are_those_of_one(
    digits, recipe, tmp_path, cluster
):
    recipe = replace(recipe, epochs=12)
    seeds = range(200, 203)
    alone = [
        task.store(None) for task in tasks_of(digits, recipe, tmp_path / "one", seeds)
    ]
    tasks = tasks_of(digits, recipe, tmp_path / "two", seeds)
    with cluster.get_client() as client:
        first = list(client.run(os.getpid).values())[:1]
    thread, killed = kill_in_mid_run(tasks, lambda: first)
    runs = workers.spread(tasks, scheduler=cluster.scheduler_address)
    thread.join()
    assert killed and weights(runs) == weights(alone)


@pytest.mark.long
def test_a_worker_of_several_threads_is_refused():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options, processes=False) as cluster:
        with pytest.raises(LabError, match="has 2 threads, .* --nthreads 1"):
            workers.Cluster(cluster.scheduler_address)

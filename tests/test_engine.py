"""What one training may rely on: its checkpoints, its lock, what it leaves alone, what
it hands over.
"""

import contextlib
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import check
from conftest import ROOT, apart, train
from lab import engine, models, runs, taught, training
from lab.methods import feeding
from lab.metrics import measure
from lab.plumbing import backend, fingerprint, records, storage
from lab.plumbing import checkpoints as checkpoints_of
from lab.plumbing.checkpoints import Checkpoints
from lab.plumbing.files import LabError, sha256
from lab.recipes import Job

JOB = Job(
    "digits", "dense", "main", 0, models.dense_recipe, models.build_dense, test=True
)


@pytest.fixture
def three_epochs(tmp_path, digits, recipe):
    """Checkpoints after three epochs, of which the last two are there, and the
    variables.
    """
    model = training.build(models.build_dense, digits, recipe, seed=0)
    training.compile_model(model, recipe, 100)
    variables, checkpoints = (
        model.variables + model.optimizer.variables,
        Checkpoints(tmp_path / "checkpoints"),
    )
    for epochs in (1, 2, 3):
        state = {
            "history": [{"epoch": i + 1} for i in range(epochs)],
            "best": 0,
            "environments": [],
            "shared": None,
        }
        checkpoints.write(variables, state, model.get_weights())
    return checkpoints, variables


@pytest.mark.parametrize(
    "hashed", [False, True], ids=["its hash is wrong", "its hash is right"]
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:-200] + bytes(200),
        lambda b: b"",
        lambda b: b"foreign",
        lambda b: b[:90] + b"x" + b[91:],
        lambda b: b[:-1],
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(
    damage, hashed, three_epochs
):
    checkpoints, variables = three_epochs
    newest, older = sorted(checkpoints.folder.iterdir(), reverse=True)
    torn = damage(newest.read_bytes())
    newest.unlink()
    if hashed:
        newest = newest.with_name(f"0003-{sha256(torn)[:16]}.npz")
    newest.write_bytes(torn)
    state, note = checkpoints.read(variables)
    assert len(state["history"]) == 2 and len(state["best_weights"]) == 4
    assert "a damaged checkpoint set aside" in note
    assert (
        not newest.exists()
        and newest.with_suffix(".damaged").exists()
        and older.exists()
    )


def test_a_checkpoint_of_another_network_is_set_aside(three_epochs, digits, recipe):
    checkpoints, _ = three_epochs
    other = training.build(
        models.build_dense,
        digits,
        replace(recipe, model_arguments={"units": 7}),
        seed=0,
    )
    state, _ = checkpoints.read(other.variables)
    assert (
        state["history"] == [] and len(list(checkpoints.folder.glob("*.damaged"))) == 2
    )


def test_a_full_memory_leaves_checkpoints_alone(three_epochs, monkeypatch):
    checkpoints, variables = three_epochs
    monkeypatch.setattr(
        checkpoints_of.np, "load", lambda path: (_ for _ in ()).throw(MemoryError())
    )
    with pytest.raises(MemoryError):
        checkpoints.read(variables)
    assert len(list(checkpoints.folder.glob("*.npz"))) == 2


def test_a_checkpoint_of_an_older_program_is_set_aside(three_epochs):
    checkpoints, variables = three_epochs
    for path in list(checkpoints.folder.iterdir()):
        with np.load(path) as arrays:
            np.savez(
                path,
                **{
                    **arrays,
                    "state": json.dumps({"history": [], "seconds": 1.0, "best": 0}),
                },
            )
        path.rename(path.with_name(f"{path.name[:4]}-{sha256(path)[:16]}.npz"))
    state, note = checkpoints.read(variables)
    assert state["environments"] == [] and "set aside" in note


def test_without_a_checkpoint_a_training_begins_anew(tmp_path):
    state, note = Checkpoints(tmp_path).read([])
    assert state["history"] == state["best_weights"] == [] and note == ""


def test_a_run_that_changed_its_machine_half_way_says_so(
    digits, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    original = Checkpoints.write

    def write(self, variables, state, best):
        state["environments"][0]["device"] = "an older processor"
        original(self, variables, state, best)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", write)
    with pytest.raises(KeyboardInterrupt):
        train(digits, recipe, tmp_path / "runs")
    monkeypatch.setattr(Checkpoints, "write", original)
    facts = train(digits, recipe, tmp_path / "runs").record["environment"]
    assert [one["device"] for one in facts["earlier"]] == [
        "an older processor"
    ] and facts["device"] != "an older processor"
    assert (
        "earlier"
        not in train(digits, replace(recipe, epochs=1), tmp_path / "runs").record[
            "environment"
        ]
    )


# --- what it hands over, and what it leaves alone


def test_fit_can_be_pickled_prints_nothing_and_writes_checkpoints_alone(
    digits, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    job = pickle.loads(
        pickle.dumps(replace(models.two_conv_jobs[0], dataset="digits", recipe=recipe))
    )
    assert (
        job.build is models.build_two_conv
        and pickle.loads(pickle.dumps(engine.fit)) is engine.fit
    )
    said, told = io.StringIO(), []
    with contextlib.redirect_stdout(said):
        trained = pickle.loads(pickle.dumps(engine.fit(job, digits, told.append)))
    assert said.getvalue() == "" and len(told) == 2 and "epoch 2 of 2" in told[1]
    written = {
        path.relative_to(tmp_path).parts[:2]
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert written == {("build", "checkpoints")}
    run = engine.keep(trained, tmp_path / "runs")
    assert (
        run.path == tmp_path / "runs" / job.name
        and run.record["metrics"] == trained.record["metrics"]
    )
    assert not list(tmp_path.rglob("checkpoints/*"))
    assert len(trained.weights) == len(models.build_two_conv(digits.shape, 10).weights)


def test_loading_a_finished_run_leaves_random_state_and_policies_as_they_are(
    digits, recipe, tmp_path
):
    train(digits, recipe, tmp_path)
    fingerprint._described.cache_clear()

    def seeded():
        keras.utils.clear_session(
            free_memory=False
        )  # older versions go on with their random numbers otherwise
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy("mixed_bfloat16")
        return random.getstate(), np.random.get_state()[1].tolist()

    def drawn():
        return keras.ops.convert_to_numpy(keras.random.uniform((2,), dtype="float32"))

    try:
        seeded()
        expected = drawn()
        before = seeded()
        train(digits, recipe, tmp_path)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        assert np.array_equal(drawn(), expected)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.layers.Dense(1).name == "dense"  # names go on where they were
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("weight", [None, "balanced"])
def test_the_training_step_is_compiled_in_the_warm_up_and_never_again(
    digits, recipe, tmp_path, monkeypatch, weight
):
    traced, compiled, step, warm_up = [], [], keras.Model.train_step, backend.warm_up

    def counted(self, *arguments, **options):
        traced.append(1)
        return step(self, *arguments, **options)

    def warmed(*arguments):
        seconds = warm_up(*arguments)
        compiled.append(len(traced))
        return seconds

    counted.__module__ = step.__module__  # a train_step of its own would be refused
    monkeypatch.setattr(keras.Model, "train_step", counted)
    monkeypatch.setattr(training, "warm_up", warmed)
    train(
        digits, replace(recipe, class_weight=weight, batch_size=100), tmp_path
    )  # 79 images are left at the end
    assert compiled == [len(traced)] and compiled[0] > 0


def test_a_changed_helper_of_the_network_is_another_architecture(digits, recipe):
    space = {"build_dense": models.build_dense}
    exec(
        "def width():\n    return 4\ndef build_mine(shape, classes):\n    return"
        " build_dense(shape, classes, width())",
        space,
    )
    job = replace(JOB, build=space["build_mine"], recipe=recipe)
    before = engine.fingerprint(job, digits)
    exec("def width():\n    return 5", space)
    assert engine.fingerprint(job, digits) != before


def test_fit_without_images_is_one_sentence(digits, recipe):
    with pytest.raises(
        LabError,
        match=(
            "dense on Digits has no finished run, and the images to train it are not"
            " here"
        ),
    ):
        engine.fit(replace(JOB, recipe=recipe), replace(digits, images=None))


@pytest.mark.parametrize("share, shared", [(0.02, False), (0.4, True), (None, None)])
def test_a_run_says_whether_others_used_the_machine(
    digits, recipe, tmp_path, monkeypatch, share, shared
):
    monkeypatch.setattr(
        training,
        "others",
        lambda since=None: None if share is None else share if since else {"whole": 1},
    )
    assert train(digits, recipe, tmp_path).record["shared_machine"] is shared


def test_others_share_of_the_machine_is_without_the_time_of_this_process(
    monkeypatch, tmp_path
):
    stat, tick = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(backend, "Path", lambda _: stat)
    seconds = iter([0.0, 1.0])
    monkeypatch.setattr(backend.time, "process_time", lambda: next(seconds))
    stat.write_text("cpu 0 0 0 0 0 0 0 0 0 0\n")
    begin = backend.others()
    stat.write_text(f"cpu {4 * tick} 0 0 {6 * tick} 0 0 0 0 0 0\n")
    assert backend.others(begin) == pytest.approx((4 - 1) / 10)


def test_half_precision_trains_the_improved_network(digits, tmp_path):
    recipe = replace(
        models.ablation_recipe,
        epochs=2,
        batch_size=128,
        learning_rate=0.2,
        precision="mixed_float16",
    )
    run = train(digits, recipe, tmp_path, model="improved", build=models.build_improved)
    assert run.record["environment"]["precision"] == "mixed_float16"
    assert run.record["metrics"]["validation"]["accuracy"] > 0.4


@pytest.mark.parametrize("test", [False, True])
def test_a_run_that_is_no_headline_run_keeps_answers_alone_and_the_same_metrics(
    digits, recipe, tmp_path, test
):
    recipe = replace(recipe, test_time_augmentation=True)
    run, whole = (
        train(digits, recipe, tmp_path, variant="lr-0.1", test=test),
        train(digits, recipe, tmp_path),
    )
    splits = ["validation", "test"] if test else ["validation"]
    parts = ("answer", "answer_tta", "p_answer", "p_label", "labels")
    assert set(run.predictions) == {"training_right", "classes"} | {
        f"{split}_{part}" for split in splits for part in parts
    }
    assert run.record["metrics"] == {
        split: whole.record["metrics"][split] for split in ["training", *splits]
    }
    assert records.all_metrics(run.predictions, measure) == run.record["metrics"]
    assert (run.path / "predictions.npz").stat().st_size < (
        whole.path / "predictions.npz"
    ).stat().st_size / 2


def test_a_run_says_which_corrupted_images_its_network_has_right(
    digits, recipe, tmp_path
):
    run = train(digits, recipe, tmp_path, corrupted=True)
    probabilities, labels = run.validation()
    untouched = (probabilities.argmax(axis=1) == labels)[:500]
    table = run.predictions["corrupted_right"].reshape(len(untouched), -1, 4)
    assert table.shape[1] == len(taught.CORRUPTIONS)
    assert (table[:, :, 0] == untouched[:, None]).all()
    noise = table.mean(axis=0)[list(taught.CORRUPTIONS).index("noise")]
    assert noise[0] > noise[3] + 0.05
    assert list(run.predictions["corruptions"]) == records.spoilt(taught.CORRUPTIONS)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_answers_alone_give_every_metric_of_all_probabilities(classes, n, seed):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split in ("validation", "test"):
        arrays[f"{split}_labels"] = rng.integers(0, classes, n).astype(np.int16)
        for ending in ("", "_tta"):  # coarse, so that equal highest ones occur
            arrays[f"{split}_probabilities{ending}"] = (
                rng.integers(1, 4, (n, classes)) / 4
            ).astype(np.float16)
    alone = records.answers_alone(arrays)
    assert records.all_metrics(alone, measure) == records.all_metrics(arrays, measure)


def test_a_record_that_is_no_object_is_one_sentence(digits, recipe, tmp_path):
    run = train(digits, recipe, tmp_path)
    (run.path / "run.json").write_text("[1, 2]")
    with pytest.raises(LabError, match="is damaged .run.json holds no record"):
        runs.read(run.path)


# --- what a recipe trains on


def test_the_audit_leaves_out_blanks_copies_and_conflicts_and_keeps_the_first_copy(
    digits, recipe
):
    images, labels = digits.images.copy(), digits.labels.copy()
    rows, test = digits.splits["training"], digits.splits["test"]
    blank, leaked, first, second, one, other = rows[[0, 10, 20, 30, 40, 50]]
    images[blank], images[leaked] = 7, images[test[0]]
    images[second], labels[second] = images[first], labels[first]
    images[other], labels[other] = images[one], (labels[one] + 1) % 10
    images[digits.splits["validation"][3]] = images[test[1]]
    dirty = replace(digits, images=images, labels=labels)
    kept, _ = feeding.training_images(dirty, replace(recipe, leave_out="audit"), 0)
    gone = {blank, leaked, second, one, other}
    assert np.array_equal(kept, images[[row for row in rows if row not in gone]])
    both, _ = feeding.training_images(
        dirty, replace(recipe, keep="last_epoch", fit_on="training_and_validation"), 0
    )
    assert len(both) == len(rows) + len(digits.splits["validation"]) - 1


def test_a_refit_without_test_images_could_not_be_judged(recipe):
    with pytest.raises(
        LabError,
        match=(
            "digits/dense/main/seed-0 trains on the validation images, too: set"
            " test=True"
        ),
    ):
        replace(
            JOB,
            recipe=replace(recipe, keep="last_epoch", fit_on="training_and_validation"),
            test=False,
        )


def test_a_job_with_a_seed_or_a_wish_that_cannot_be_is_one_sentence(recipe):
    with pytest.raises(LabError, match="seed=4294967296: write a whole number from 0"):
        replace(JOB, seed=2**32)
    both = replace(recipe, keep="last_epoch", fit_on="training_and_validation")
    with pytest.raises(LabError, match="validation images, too: leave corrupted out"):
        replace(JOB, recipe=both, test=True, corrupted=True)


def test_a_refit_has_no_validation_images_left_to_be_judged_by(
    digits, recipe, tmp_path, capsys
):
    run = train(
        digits,
        replace(recipe, keep="last_epoch", fit_on="training_and_validation"),
        tmp_path,
        variant="refit",
    )
    assert set(run.predictions) == {"training_right", "classes"} | {
        f"test_{part}" for part in ("answer", "p_answer", "p_label", "labels")
    }
    assert (
        set(run.record["metrics"]) == {"training", "test"}
        and run.history["validation_loss"].isna().all()
    )
    assert list(check.check_run(run.path)) == []
    assert "test accuracy" in capsys.readouterr().out


# --- several at once


def test_new_seeds_of_a_headline_network_wait_for_each_other_and_move_together(
    digits, recipe, tmp_path
):
    folder, old = tmp_path / "runs", replace(recipe, epochs=1)
    jobs = [replace(JOB, seed=seed, recipe=recipe) for seed in (0, 1)]
    before = engine.train([replace(job, recipe=old) for job in jobs], digits, folder)
    (first,) = engine.train(jobs[:1], digits, folder, seeds=jobs)
    assert first.path == tmp_path / "next" / jobs[0].name
    assert [runs.read(run.path).record["epochs_run"] for run in before] == [1, 1]
    (second,) = engine.train(jobs[1:], digits, folder, seeds=jobs)
    assert second.path == folder / jobs[1].name and not (tmp_path / "next").exists()
    found = [runs.read(folder / job.name) for job in jobs]
    assert [run.record["epochs_run"] for run in found] == [2, 2]
    assert found[0].record["finished_at"] == first.record["finished_at"]


def test_seeds_that_end_together_are_moved_by_one_of_them(
    digits, recipe, tmp_path, monkeypatch
):
    folder, old = tmp_path / "runs", replace(recipe, epochs=1)
    jobs = [replace(JOB, seed=seed, recipe=recipe) for seed in (0, 1)]
    engine.train([replace(job, recipe=old) for job in jobs], digits, folder)
    for job in jobs:
        engine.keep(engine.fit(job, digits), folder)
    moved, moving = storage.move, threading.Lock()

    def move(*paths):
        assert moving.acquire(blocking=False), "two at once"
        time.sleep(0.05)
        moved(*paths)
        moving.release()

    monkeypatch.setattr(storage, "move", move)
    with ThreadPoolExecutor(2) as pool:
        ends = [
            pool.submit(engine.train, [job], digits, folder, seeds=jobs) for job in jobs
        ]
    assert [end.result()[0].path for end in ends] == [folder / job.name for job in jobs]
    assert not (tmp_path / "next").exists()


def test_a_run_replaced_while_it_is_read_is_read_anew_and_a_damaged_one_is_named(
    digits, recipe, tmp_path, monkeypatch
):
    old, new = (
        train(digits, recipe, tmp_path / "a"),
        train(digits, replace(recipe, epochs=1), tmp_path / "b"),
    )
    unpack, read = np.load, []

    def replaced(path):
        if not read:
            storage.put(new.path, old.path)
        read.append(path)
        return unpack(path)

    monkeypatch.setattr(storage.np, "load", replaced)
    (
        old.path / "history.csv"
    ).unlink()  # what is left while another process deletes the folder
    assert runs.read(old.path).record["epochs_run"] == 1 and len(read) == 2
    (old.path / "history.csv").unlink()
    with pytest.raises(LabError, match="is damaged"):
        runs.read(old.path)


def test_a_run_that_two_processes_move_stays(digits, recipe, tmp_path):
    run = train(digits, recipe, tmp_path / "next")
    place = tmp_path / "runs" / JOB.name
    for _ in range(2):
        storage.move(run.path, place)
    assert runs.read(place).record == run.record and not (tmp_path / "next").exists()


@pytest.mark.parametrize(
    "error", [OSError(18, "Invalid cross-device link"), KeyboardInterrupt()]
)
def test_a_run_that_cannot_be_put_in_place_leaves_the_old_one_there(
    digits, recipe, tmp_path, monkeypatch, error
):
    old, new = (
        train(digits, recipe, tmp_path / "runs"),
        train(digits, replace(recipe, epochs=1), tmp_path / "next"),
    )
    replace_ = os.replace

    def refused(source, target):
        if source == new.path:
            raise error
        replace_(source, target)

    monkeypatch.setattr(storage.os, "replace", refused)
    with pytest.raises(type(error)):
        storage.move(new.path, old.path)
    assert (
        runs.read(old.path).record == old.record
        and runs.read(new.path).record == new.record
    )
    assert os.listdir(old.path.parent) == ["seed-0"]


def test_a_point_of_a_study_does_not_wait(digits, recipe, tmp_path):
    for epochs in (1, 2):
        run = train(
            digits,
            replace(recipe, epochs=epochs),
            tmp_path / "runs",
            variant="lr-1",
            test=False,
        )
        assert (
            run.path == tmp_path / "runs" / "digits/dense/lr-1/seed-0"
            and run.record["epochs_run"] == epochs
        )


TWO = """
import os, sys
os.getpid = lambda: 7  # two containers that share a disk may have the same process ids
from dataclasses import replace
from pathlib import Path
from lab import datasets, engine, models, recipes
from lab.plumbing import files, storage
top, count = Path(sys.argv[1]), int(sys.argv[2])
engine.ROOT = top
files.platform.node = lambda: "same"
digits = datasets.load("digits")
recipe = replace(models.dense_recipe, epochs=1, model_arguments={"units": 2})
for i in range(count):
    job = recipes.Job("digits", "dense", "main", i, recipe, models.build_dense)
    for retrain in (False, True):
        run, = engine.train([job], digits, top / "runs", retrain)
    files.write(top / "shared.json", str(i) * 5000)
    again = dict(run.record), run.history, run.predictions, None, ()
    storage.store(top / "runs" / "contended", *again)
print("done", run.record["weights_sha256"])
"""


@pytest.mark.long
@pytest.mark.parametrize("count", [3, 60])
def test_two_processes_with_equal_ids_train_the_same_runs_and_neither_fails(
    count, tmp_path
):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path), str(count)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    ends = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    last = [out.splitlines()[-1] for out, _ in ends]
    assert last[0] == last[1] and last[0].startswith("done ")
    assert runs.read(tmp_path / "runs" / "contended").record
    assert [path for path in tmp_path.rglob("*") if "same-7" in path.name] == []


HOLDER = """
import sys, time
from lab.plumbing.files import alone
with alone(sys.argv[1], "this"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_training_of_a_run_says_who_is_at_it_and_takes_over_from_the_dead(
    digits, recipe, tmp_path, monkeypatch
):
    class Said(io.StringIO):
        def write(self, text):
            if "waiting for it" in text:
                holder.kill()
            return super().write(text)

    monkeypatch.setattr(engine, "ROOT", tmp_path)
    mark = engine.fingerprint(replace(JOB, recipe=recipe), digits)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, mark],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(sys, "stdout", Said())
        assert train(digits, recipe, tmp_path / "runs").record["epochs_run"] == 2
    said = sys.stdout.getvalue()
    assert f"dense on Digits, seed 0: process {holder.pid} on " in said
    assert "is at it; waiting for it." in said


@pytest.mark.parametrize(
    "line", ["plan.py list", "check.py", "notebooks.py run full", "report.py full"]
)
def test_control_c_ends_a_command_with_one_line(line, copy):
    tool, *words = line.split()
    command = subprocess.Popen(
        [sys.executable, f"tools/{tool}", *words],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=apart(copy, LAB_DATA=str(copy), PYTHONUNBUFFERED="1"),
    )
    if tool == "check.py":
        assert command.stdout.readline()
    elif tool == "notebooks.py":
        while not [*copy.glob("build/kernel-full-*.log")] and command.poll() is None:
            time.sleep(0.1)
    else:
        time.sleep(0.4)  # libraries are being loaded
    os.killpg(command.pid, 2)
    _, said = command.communicate(timeout=60)
    assert "Traceback" not in said
    assert command.returncode == 130
    assert (
        said.strip().splitlines()[-1]
        == "Stopped. What was finished is kept: the same command goes on from there."
    )
    shutil.rmtree(copy)


@pytest.mark.parametrize(
    "command", ["-m apps.demo README.md", "tools/plan.py list", "tools/check.py"]
)
def test_another_backend_is_one_sentence(command):
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert done.returncode and done.stderr.strip() == (
        "Keras is set to compute with jax, this project computes"
        " with TensorFlow alone: unset KERAS_BACKEND and start anew."
    )

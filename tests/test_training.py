import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from conftest import train
from lab import engine, models, parts, runs, tables, taught, training
from lab.methods import feeding
from lab.plumbing import fingerprint, storage
from lab.plumbing.checkpoints import Checkpoints
from lab.plumbing.files import LabError
from lab.recipes import Job, Recipe
from lab.runs import Seeds

JOB = Job(
    "digits", "dense", "main", 0, models.dense_recipe, models.build_dense, test=True
)


@pytest.fixture(scope="session")
def run(digits, recipe, tmp_path_factory):
    return train(digits, recipe, tmp_path_factory.mktemp("runs"))


def test_a_run_leaves_what_the_record_format_demands(run, digits):
    record = json.loads((run.path / "run.json").read_text())
    assert list(record) == sorted(record)
    assert set(record) == {
        "dataset",
        "model",
        "variant",
        "seed",
        "fingerprint",
        "protocol",
        "recipe",
        "parameters",
        "pflop",
        "epochs_run",
        "best_epoch",
        "data_sha256",
        "split_sha256",
        "seconds",
        "shared_machine",
        "environment",
        "metrics",
        "predictions_sha256",
        "weights_sha256",
        "weights_file_sha256",
        "git_commit",
        "finished_at",
    }
    assert set(record["seconds"]) == {"train", "evaluate", "compile"}
    assert set(record["recipe"]) == {field.name for field in fields(Recipe)}
    assert run.path.parts[-4:] == ("digits", "dense", "main", "seed-0")
    probabilities, labels = run.test()
    assert (
        probabilities.dtype == np.float16 and (labels == digits.split("test")[1]).all()
    )
    assert record["metrics"]["test"]["accuracy"] == np.mean(
        probabilities.argmax(axis=1) == labels
    )
    assert (run.predictions["validation_labels"] == digits.split("validation")[1]).all()
    assert len(run.history) == record["epochs_run"] == 2
    assert record["seconds"]["train"] == round(2 * run.history["seconds"].median(), 1)
    assert record["pflop"] == round(3 * 2 * (256 * 512 + 512 * 10) * 1079 * 2 / 1e15, 6)
    assert (
        record["metrics"]["training"]["accuracy"]
        == run.predictions["training_right"].mean()
    )
    assert len(run.predictions["training_right"]) == 1079


def test_a_finished_run_is_found_by_its_fingerprint_and_trained_again_only_when_asked(
    run, digits, recipe, tmp_path, capsys
):
    folder = shutil.copytree(run.path.parents[3], tmp_path / "runs")
    assert (
        train(digits, recipe, folder).record["finished_at"] == run.record["finished_at"]
    )
    again = train(digits, recipe, folder, retrain=True)
    assert again.record["weights_sha256"] == run.record["weights_sha256"]
    assert (again.path / "run.json").stat().st_mtime > (
        run.path / "run.json"
    ).stat().st_mtime
    assert ", trained" in capsys.readouterr().out
    seen = train(digits, replace(recipe, learning_rate=0.002), folder)
    assert seen.record["fingerprint"] != run.record["fingerprint"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    digits, recipe, tmp_path
):
    first = train(digits, recipe, tmp_path / "a")
    second = train(digits, recipe, tmp_path / "b")
    other = train(digits, recipe, tmp_path / "a", seed=1)
    assert (
        first.record["weights_sha256"]
        == second.record["weights_sha256"]
        != other.record["weights_sha256"]
    )
    assert first.history.drop(columns="seconds").equals(
        second.history.drop(columns="seconds")
    )


KILLED = """
import os, signal, sys, threading, time
from dataclasses import replace
from pathlib import Path
from lab import datasets, engine, models, recipes
engine.ROOT = Path(sys.argv[1])
model = sys.argv[2]
build = getattr(models, "build_" + model)
recipe = replace(getattr(models, model + "_recipe"), epochs=int(sys.argv[3]))
if float(sys.argv[4]):
    timer = threading.Timer(float(sys.argv[4]), os.kill, [os.getpid(), signal.SIGKILL])
    timer.daemon = True
    timer.start()
begin = time.time()
job = recipes.Job("digits", model, "main", 0, recipe, build, test=True)
folder = Path(sys.argv[1], "runs")
run, = engine.train([job], datasets.load("digits"), folder)
print(time.time() - begin)
history = run.history.drop(columns="seconds").to_csv()
print(run.record["weights_sha256"], history, sep="\\n")
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "model, epochs, kills", [("two_conv", 3, 1), ("improved", 8, 20)]
)
def test_killed_at_random_moments_a_run_ends_with_the_same_weights_and_history(
    model, epochs, kills, tmp_path
):
    def start(folder, after):
        return subprocess.run(
            [
                sys.executable,
                "-c",
                KILLED,
                str(tmp_path / folder),
                model,
                str(epochs),
                str(after),
            ],
            capture_output=True,
            text=True,
            cwd=engine.ROOT,
            env=os.environ,
        )

    whole = start("whole", 0).stdout.splitlines()[-epochs - 4 :]
    moments = list(np.random.default_rng().uniform(0.2, 1.1, kills) * float(whole[0]))
    hits = 0
    for moment in moments:
        while start("killed", moment).returncode == 0:  # it had ended before
            shutil.rmtree(tmp_path / "killed")
            moment /= 2
        hits += 1
    assert hits == kills
    resumed = start("killed", 0)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-epochs - 3 :] == whole[1:], (
        f"killed after {moments} seconds"
    )
    checkpoints = tmp_path / "killed" / "build" / "checkpoints"
    assert not checkpoints.exists() or not any(checkpoints.iterdir())


def test_a_resumed_run_says_where_it_goes_on(
    digits, recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    original = Checkpoints.write

    def write(self, variables, state, best):
        original(self, variables, state, best)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", write)
    with pytest.raises(KeyboardInterrupt):
        train(digits, recipe, tmp_path)
    monkeypatch.setattr(Checkpoints, "write", original)
    assert len(train(digits, recipe, tmp_path).history) == 2
    assert "resumed at epoch 2 of 2: epoch 2 of 2; loss" in capsys.readouterr().out


CHANGES = {
    "epochs": 3,
    "batch_size": 64,
    "optimizer": "Nadam",
    "learning_rate": 0.01,
    "optimizer_arguments": {"beta_1": 0.8},
    "schedule": "constant",
    "label_smoothing": 0.1,
    "augmentation": {"flip": True},
    "keep": "last_epoch",
    "precision": "mixed_float16",
    "model_arguments": {"units": 64},
    "subset": 0.5,
    "lookahead": 5,
    "test_time_augmentation": True,
    "class_weight": "balanced",
    "leave_out": "audit",
    "views": "fourteen",
}


def test_the_fingerprint_sees_every_field_of_the_recipe(digits, recipe):
    assert set(CHANGES) == {field.name for field in fields(Recipe)} - {
        "loss",
        "fit_on",
    }  # loss: there is one
    recipes = [
        recipe,
        *(replace(recipe, **{name: value}) for name, value in CHANGES.items()),
    ]
    recipes.append(replace(recipe, keep="last_epoch", fit_on="training_and_validation"))
    marks = {engine.fingerprint(replace(JOB, recipe=one), digits) for one in recipes}
    marks |= {engine.fingerprint(replace(JOB, recipe=recipe, seed=1), digits)}
    marks |= {
        engine.fingerprint(replace(JOB, recipe=recipe), replace(digits, sha256="other"))
    }
    marks |= {
        engine.fingerprint(
            replace(JOB, recipe=recipe), replace(digits, split_sha256="other")
        )
    }
    assert len(marks) == len(CHANGES) + 5


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        (
            "schedule",
            "cosine",
            "schedule='cosine': choose among 'constant', 'triangle'",
        ),
        ("keep", "best", "keep='best'"),
        ("precision", "bfloat16", "precision='bfloat16'"),
        ("class_weight", "balance", "class_weight='balance'"),
        ("augmentation", {"flip": "alternate"}, "flip='alternate'"),
        ("optimizer", "deserialize", "no optimizer"),
        ("views", "six", "views='six'"),
        ("leave_out", "copies", "leave_out='copies'"),
        ("fit_on", "all", "fit_on='all'"),
        ("fit_on", "training_and_validation", "cannot choose an epoch"),
    ],
)
def test_a_word_in_a_recipe_that_stands_for_nothing_is_one_sentence(
    recipe, name, value, sentence
):
    with pytest.raises(LabError, match=sentence):
        replace(recipe, **{name: value})


def test_the_fingerprint_sees_the_architecture_and_not_the_automatic_names(
    digits, recipe
):
    def mark(function, **arguments):
        return engine.fingerprint(
            replace(
                JOB, build=function, recipe=replace(recipe, model_arguments=arguments)
            ),
            digits,
        )

    before = mark(models.build_two_conv)
    fingerprint._described.cache_clear()
    models.build_two_conv(digits.shape, 10)
    assert mark(models.build_two_conv) == before
    assert (
        len(
            {
                before,
                mark(models.build_two_conv, dropout=0.3),
                mark(models.build_dense),
                mark(models.build_two_conv, filters=(32, 65)),
                mark(models.build_one_conv),
            }
        )
        == 5
    )


def test_committed_runs_have_the_fingerprint_of_the_code():
    from check import RUNS, check_run  # with the oldest and newest versions alike

    folders = sorted(path.parent for path in RUNS.glob("*/*/main/seed-*/run.json"))
    assert folders
    assert [finding for folder in folders for finding in check_run(folder)] == []


def test_damaged_predictions_are_named_and_not_opened(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "seed-0")
    (folder / "predictions.npz").write_bytes(b"something else")
    with pytest.raises(
        LabError,
        match="is damaged .predictions.npz has another hash.*delete the folder",
    ):
        runs.read(folder)


@pytest.mark.parametrize("kept", [True, False])
def test_the_job_decides_whether_weights_are_kept(digits, recipe, tmp_path, kept):
    run = train(
        digits, replace(recipe, epochs=1), tmp_path, model="mine", seed=3, weights=kept
    )
    assert (
        (run.path / "weights.npz").exists()
        == (run.record["weights_file_sha256"] is not None)
        == kept
    )


def test_stored_weights_give_the_stored_predictions(digits, tmp_path):
    recipe = replace(models.two_conv_recipe, epochs=1)
    run = train(
        digits,
        recipe,
        tmp_path,
        model="two_conv",
        build=models.build_two_conv,
        weights=True,
    )

    def loaded(classes=digits.classes, **arguments):
        network = models.build_two_conv(digits.shape, 10, **arguments)
        return storage.load_weights(run.path, run.record, network, classes)

    again = loaded().predict(digits.split("test")[0], verbose=0)
    assert np.abs(again - run.test()[0]).max() < 0.01
    with pytest.raises(
        LabError, match="do not fit the network, which has changed since"
    ):
        loaded(filters=(32, 65))
    with pytest.raises(LabError, match="in this order, and not"):
        loaded(digits.classes[::-1])
    (run.path / "weights.npz").write_bytes(b"something else")
    with pytest.raises(LabError, match="weights.npz is missing or altered"):
        loaded()


def test_the_epoch_that_the_recipe_names_is_kept(digits, recipe, tmp_path):
    labels, held_out = digits.labels.copy(), digits.splits["validation"]
    labels[held_out] = (labels[held_out] + 1) % 10  # the better it learns, the worse
    wrong = replace(digits, labels=labels, sha256="others")
    for keep, best in (("lowest_validation_loss", 1), ("last_epoch", 2)):
        run = train(wrong, replace(recipe, keep=keep), tmp_path / keep)
        losses = run.history["validation_loss"]
        assert losses[0] < losses[1] and run.record["best_epoch"] == best
        kept = run.record["metrics"]["validation"]["log_loss"]
        assert kept == pytest.approx(losses[best - 1], rel=0.01)


def test_a_full_memory_is_one_sentence_with_the_batch_size_to_try(
    digits, recipe, tmp_path, monkeypatch
):
    class ResourceExhaustedError(Exception):
        pass

    for error in (
        ResourceExhaustedError("OOM when allocating"),
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: ..."),
    ):

        def full(*_, error=error, **__):
            raise error

        monkeypatch.setattr(training, "run_epochs", full)
        with pytest.raises(
            LabError,
            match=(
                "Not enough memory for dense on Digits with a batch size of 128: set"
                " batch_size=64"
            ),
        ):
            train(digits, recipe, tmp_path)
    monkeypatch.setattr(training, "run_epochs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(digits, recipe, tmp_path)


FULL = """
import subprocess, sys
from dataclasses import replace
from pathlib import Path
from lab import LabError, datasets, engine, models, recipes

disk, quiet = sys.argv[1], dict(check=True, stdout=subprocess.DEVNULL)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", disk], **quiet)
recipe, digits = replace(models.dense_recipe, epochs=4), datasets.load("digits")
job = recipes.Job("digits", "dense", "main", 0, recipe, models.build_dense, test=True)
whole, = engine.train([job], digits, sys.argv[2])
engine.ROOT = Path(disk)
def train():
    return engine.train([job], digits, disk)[0]
try:
    train()
except LabError as error:
    print(error)
print(sorted(path.name[:5] for path in Path(disk).rglob("*.npz")))
subprocess.run(["mount", "-o", "remount,size=50m", disk], **quiet)
print(train().record["weights_sha256"] == whole.record["weights_sha256"])
"""


@pytest.mark.long
def test_a_disk_that_fills_up_leaves_two_whole_checkpoints_to_go_on_from(tmp_path):
    (tmp_path / "disk").mkdir()
    # A mount that ends with the process:
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if (
        not shutil.which("unshare")
        or subprocess.run(
            [*apart, "mount", "-t", "tmpfs", "none", str(tmp_path / "disk")]
        ).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    done = subprocess.run(
        [
            *apart,
            sys.executable,
            "-c",
            FULL,
            str(tmp_path / "disk"),
            str(tmp_path / "runs"),
        ],
        capture_output=True,
        text=True,
        cwd=engine.ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "Cannot write" in done.stdout
        and "No space left on device" in done.stdout
        and "free some disk space" in done.stdout
    )
    assert (
        "['0001-', '0002-']" in done.stdout and "resumed at epoch 3 of 4" in done.stdout
    )
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_subset_keeps_every_class_in_proportion_and_depends_on_the_seed(
    share, digits, recipe
):
    whole = digits.split("training")[1]
    images, labels = feeding.training_images(
        digits, replace(recipe, subset=share), seed=0
    )
    assert len(images) == len(labels) == int(share * len(whole))
    assert (
        np.abs(np.bincount(labels, minlength=10) - share * np.bincount(whole)).max()
        <= 1
    )
    again, other = (
        feeding.training_images(digits, replace(recipe, subset=share), seed)[0]
        for seed in (0, 1)
    )
    assert (again == images).all() and not (other == images).all()


def test_balanced_class_weights_count_each_class_alike():
    weights = feeding.class_weights(np.array([0, 0, 0, 0, 2, 2]), 3)
    assert weights == {0: pytest.approx(0.5), 1: 0.0, 2: 1.0}


def test_balanced_class_weights_help_a_rare_class(digits, recipe, tmp_path):
    training_rows, labels = digits.splits["training"], digits.split("training")[1]
    rare = np.concatenate([training_rows[labels != 0], training_rows[labels == 0][:4]])
    few = replace(digits, name="few", splits={**digits.splits, "training": rare})
    found = [
        train(few, replace(recipe, class_weight=weight), tmp_path, variant=str(weight))
        for weight in (None, "balanced")
    ]
    without, with_weights = [
        run.predictions["validation_p_label"][
            run.predictions["validation_labels"] == 0
        ].mean()
        for run in found
    ]
    assert with_weights > 1.2 * without


def test_leaked_test_images_are_stored_and_left_out_of_a_second_accuracy(
    digits, recipe, tmp_path
):
    images, labels = digits.images.copy(), digits.labels.copy()
    first, test = digits.splits["training"][0], digits.splits["test"][:40]
    images[test], labels[test] = images[first], (labels[first] + np.arange(40)) % 10
    leaky = replace(digits, images=images, labels=labels)
    run = train(leaky, recipe, tmp_path)
    assert run.predictions["test_leaked"].sum() == 40
    probabilities, labels = run.test()
    expected = np.mean(
        (probabilities.argmax(axis=1) == labels)[~run.predictions["test_leaked"]]
    )
    assert (
        run.record["metrics"]["test"]["accuracy_without_leaked"]
        == expected
        != run.record["metrics"]["test"]["accuracy"]
    )
    assert tables.row(Seeds([run]))["not leaked"] == f"{100 * expected:.1f}"


def test_the_triangle_rises_to_its_peak_and_falls_to_zero():
    rates = [float(taught.triangle(step, 0.5, 99)) for step in range(99)]
    assert max(rates) == pytest.approx(0.5) and int(np.argmax(rates)) == 19
    assert rates[0] == pytest.approx(0.025) and rates[-1] < 0.01
    assert (np.diff(rates[:20]) > 0).all() and (np.diff(rates[20:]) < 0).all()


@pytest.mark.parametrize("images, size, steps", [(64, 32, 2), (65, 32, 3), (5, 32, 1)])
def test_an_epoch_has_a_smaller_batch_for_what_is_left(images, size, steps):
    assert taught.steps_per_epoch(images, size) == steps


@pytest.mark.parametrize("schedule", ["constant", "triangle"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "FastOffsetSGD", "Muon"])
def test_a_recipe_becomes_optimiser_loss_and_schedule(name, schedule, digits):
    recipe = Recipe(
        epochs=2,
        optimizer=name,
        learning_rate=0.01,
        schedule=schedule,
        label_smoothing=0.1,
    )
    model = training.build(models.build_dense, digits, recipe, seed=0)
    training.compile_model(model, recipe, 100)
    kind = getattr(parts, name, None) or getattr(keras.optimizers, name)
    assert type(model.optimizer) is kind and model.loss.label_smoothing == 0.1
    first = 0.01 if schedule == "constant" else float(taught.triangle(0, 0.01, 8))
    assert float(model.optimizer.learning_rate) == pytest.approx(first)


def test_a_loop_of_plain_fit_gives_the_weights_of_the_engine(
    digits, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    recipe = replace(recipe, keep="last_epoch")
    job = replace(JOB, variant="loop", recipe=recipe, weights=True)
    (images, labels), targets = digits.split("training"), np.eye(10, dtype="float32")
    keras.utils.set_random_seed(0)
    model = models.build_dense(digits.shape, 10)
    taught.compile_model(model, recipe, len(images), {})
    for epoch in range(recipe.epochs):
        fed, order = training.one_epoch(images, recipe, 0, epoch)
        wanted, size = targets[labels[order]], recipe.batch_size
        model.fit(fed, wanted, batch_size=size, shuffle=False, verbose=0)
    for mine, stored in zip(model.get_weights(), engine.fit(job, digits).weights):
        assert np.array_equal(mine, stored)


def test_more_than_a_thousand_weights_come_back_in_their_order(tmp_path):
    weights = [np.float32([i]) for i in range(1009)]
    weights.append(np.float32([106_818]))  # too large for float16
    record = {"weights_sha256": ""}
    arrays = record, pd.DataFrame({"epoch": [1]}), {}
    storage.store(tmp_path / "run", *arrays, weights, ("a", "b"))
    network = SimpleNamespace(
        weights=weights, set_weights=lambda kept: given.extend(kept)
    )
    given = []
    storage.load_weights(tmp_path / "run", record, network, ("a", "b"))
    assert given == weights
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state, _ = checkpoints.read([])
    checkpoints.write([], state | {"history": [{"epoch": 1}]}, weights)
    state, note = checkpoints.read([])
    assert state["best_weights"] == weights and not note

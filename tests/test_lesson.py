import json
import shutil
import sys
import types
from dataclasses import replace

import pandas as pd
import pytest

from conftest import train
from lab import lesson, models
from lab.drawing import output
from lab.plumbing import backend, records
from lab.plumbing.files import ROOT, LabError
from lab.plumbing.numbers import numbers_of
from lab.recipes import Job, study_jobs
from lab.runs import Seeds, headline


def test_an_unknown_profile_is_one_sentence(monkeypatch):
    with pytest.raises(
        LabError, match="no profile 'fast': set PROFILE .* to 'quick' or 'full'"
    ):
        lesson.start("02_dense_baseline", "fast")
    monkeypatch.setenv("LAB_PROFILE", "slow")
    with pytest.raises(LabError, match="no profile 'slow'"):
        lesson.start("02_dense_baseline", "full")


def test_no_data_set_or_class_is_one_sentence():
    for wrong in ([], 5, ["digits", "digits"]):
        with pytest.raises(LabError, match="DATASETS is .*: set it to .* different"):
            lesson.start("02_dense_baseline", "quick", wrong)
    with pytest.raises(LabError, match="CLASSES is None: set it to"):
        lesson.start("02_dense_baseline", "quick", classes=None)


@pytest.mark.parametrize("seeds", [3, [], ["0"], [-1], [True], [2**32], [0, 1, 0]])
def test_wrong_seeds_are_one_sentence(seeds):
    with pytest.raises(
        LabError, match="SEEDS is .*: set it to a list of different whole numbers"
    ):
        lesson.start("02_dense_baseline", "quick", seeds=seeds)


def test_runs_of_an_older_recipe_or_of_other_images_are_not_mixed_in(
    digits, recipe, tmp_path, capsys, monkeypatch
):
    def trained(seed, **changes):
        return train(
            digits, replace(recipe, epochs=1, **changes), tmp_path / "runs", seed=seed
        )

    old, new = trained(1), trained(0, batch_size=64)
    path = old.path / "run.json"
    path.write_text(
        json.dumps(old.record | {"finished_at": "2000-01-01T00:00:00+00:00"})
    )
    started = lesson.Lesson("05_analysis", "full", [digits], [0], False)
    monkeypatch.setattr(started, "runs_folder", tmp_path / "runs")
    assert [run.name for run in started.finished(digits)["dense"]] == [new.name]
    assert (
        "dense on Digits: 1 run of other images or another recipe"
        in capsys.readouterr().out
    )
    assert started.finished(replace(digits, sha256="other")) == {}
    assert [
        run.name for run in headline(tmp_path / "runs" / "digits" / "dense" / "main")[0]
    ] == [new.name]


@pytest.fixture
def asked(monkeypatch):
    """What Lesson.train asks of the engine: (jobs, retrain), and nothing is trained."""
    calls = []
    monkeypatch.setattr(
        lesson.engine,
        "train",
        lambda jobs, dataset, folder, retrain: calls.append((jobs, retrain)),
    )
    monkeypatch.setattr(lesson.Lesson, "_note", lambda self, runs: runs)
    return calls


def test_nothing_is_trained_again_where_the_images_are_missing(digits, asked):
    started = lesson.Lesson("02_dense_baseline", "full", [digits], [0], True)
    started.train(models.dense_jobs, digits)
    started.train(models.dense_jobs, replace(digits, images=None))
    assert [retrain for _, retrain in asked] == [True, False]


def test_a_data_set_takes_its_own_jobs_and_one_without_takes_the_first_ones(
    digits, asked
):
    faces = replace(lesson.datasets.KNOWN["fer2013"])
    for dataset in (faces, digits):
        lesson.Lesson("04_improved_cnn", "full", [dataset], [0, 7], False).train(
            models.improved_jobs, dataset
        )
    (own, _), (lent, _) = asked
    assert [job.name for job in own + lent] == [
        f"{name}/improved/main/seed-{seed}"
        for name in ("fer2013", "digits")
        for seed in (0, 7)
    ]
    assert own[0].recipe == own[1].recipe == models.improved_recipes["fer2013"]
    assert (
        lent[0].recipe.epochs == models.improved_recipes["cifar10"].epochs
        and lent[0].recipe.batch_size < own[0].recipe.batch_size
    )
    assert [job.weights for job in own + lent] == [True, False, True, False] and all(
        job.test and not job.corrupted for job in own + lent
    )
    objects = replace(lesson.datasets.KNOWN["cifar10"])
    lesson.Lesson("04_improved_cnn", "full", [objects], [0, 7], False).train(
        models.improved_jobs, objects
    )
    assert [job.corrupted for job in asked[-1][0]] == [True, False]


def test_the_environment_variable_wins_and_quick_writes_under_build(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "quick")
    started = lesson.start("02_dense_baseline", "full")
    assert [dataset.name for dataset in started.datasets] == ["digits"]
    assert (
        started.output == ROOT / "build" / "quick"
        and started.runs_folder == started.output / "runs"
    )


def test_a_narrowed_full_run_does_not_touch_the_committed_figures():
    started = lesson.start("02_dense_baseline", "full", ["digits"])
    assert (
        started.output == ROOT / "build" / "digits"
        and started.runs_folder == ROOT / "data" / "runs"
    )


def test_a_notebook_shows_the_recipe_before_while_some_seeds_of_the_new_one_wait(
    digits, recipe, tmp_path, capsys
):
    old = [
        train(digits, replace(recipe, epochs=1), tmp_path / "runs", seed=seed)
        for seed in (0, 1)
    ]
    jobs = [
        Job("digits", "dense", "main", seed, recipe, models.build_dense, test=True)
        for seed in (0, 1)
    ]
    started = lesson.Lesson("02_dense_baseline", "full", [digits], [0, 1], False)
    started.runs_folder = tmp_path / "runs"
    adapted = [lesson.adapted(job, digits) for job in jobs]
    lesson.engine.train(adapted[:1], digits, tmp_path / "runs", seeds=adapted)
    assert [run.record for run in started.train(jobs, digits)] == [
        run.record for run in old
    ]
    assert (
        "dense on Digits: 1 of 2 seeds of a new recipe are trained; these runs are of"
        " the recipe before" in capsys.readouterr().out
    )
    shutil.move(tmp_path / "runs", tmp_path / "away")  # the rest is trained then
    assert [run.record["epochs_run"] for run in started.train(jobs, digits)] == [2, 2]
    assert ", trained" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "runs")
    shutil.move(tmp_path / "away", tmp_path / "runs")
    lesson.engine.train(adapted[:1], digits, tmp_path / "runs", seeds=adapted)
    capsys.readouterr()
    started.retrain = True
    assert [run.record["epochs_run"] for run in started.train(jobs, digits)] == [2, 2]
    said = capsys.readouterr().out
    assert (
        said.count(", loaded") == said.count(", trained") == 1
        and not (tmp_path / "next").exists()
    )


def test_what_is_committed_is_replaced_by_all_of_it_or_not_at_all(monkeypatch, digits):
    monkeypatch.setattr(
        lesson.datasets,
        "load",
        lambda name, *_: replace(
            digits, name=name, images=None if name == "fer2013" else digits.images
        ),
    )
    assert (
        lesson.start("01_dataset_exploration", "full").output
        == ROOT / "build" / "without-fer2013"
    )
    monkeypatch.setattr(
        lesson.datasets, "load", lambda name, *_: replace(digits, name=name)
    )
    for votes, top in (([], ROOT / "build" / "without-fer_plus"), (["here"], ROOT)):
        monkeypatch.setattr(lesson.sources, "found", lambda name, votes=votes: votes)
        assert lesson.start("01_dataset_exploration", "full").output == top


def test_classes_narrow_a_data_set_and_its_output(capsys):
    started = lesson.start("01_dataset_exploration", "quick", classes=["1", "7"])
    assert (
        started.datasets[0].classes == ("1", "7")
        and started.output == ROOT / "build" / "quick-digits-1-7"
    )
    with pytest.raises(LabError, match="CLASSES needs two different classes"):
        lesson.start("01_dataset_exploration", "quick", classes="17")


def test_a_table_sets_numbers_flush_right_and_words_flush_left(monkeypatch, tmp_path):
    started = lesson.start("02_dense_baseline", "quick")
    monkeypatch.setattr(started, "output", tmp_path)
    frame = pd.DataFrame(
        {
            "difference": ["", "+1.2"],
            "said": ["", "better & more"],
            "loss": [0.25, 0.5],
        },
        index=["base", "other"],
    )
    assert started.save_table(frame, "few", "A few rows.") is frame
    text = (tmp_path / "report" / "generated" / "02_few.tex").read_text()
    assert (
        text.startswith(r"\begin{tabular}{lrlr}")
        and r"other & +1.2 & better \& more & 0.500 \\" in text
    )


def test_numbers_of_several_seeds_are_means_with_their_spread(tmp_path, digits, recipe):
    runs = Seeds(train(digits, recipe, tmp_path, seed=seed) for seed in (0, 1))
    accuracies = [run.record["metrics"]["test"]["accuracy"] for run in runs]
    numbers = {key: number.value for key, number in numbers_of(runs).items()}
    assert numbers["digits.dense.test.accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert numbers["digits.dense.test.accuracy_std"] == pytest.approx(
        abs(accuracies[0] - accuracies[1]) / 2**0.5
    )
    assert numbers["digits.dense.seeds"] == 2


def test_a_study_trains_each_point_once_and_leaves_out_what_is_missing(
    monkeypatch, digits, recipe, tmp_path, capsys
):
    factors = {
        "rate": {
            "lr-0.0005": {"learning_rate": 5e-4},
            "lr-0.1": {"learning_rate": 0.1},
        },
        "batch": {"batch-128": {}, "batch-64": {"batch_size": 64}},
    }
    started = lesson.Lesson("03_two_conv_cnn", "full", [digits], [0, 1, 2], False)
    started.runs_folder = tmp_path / "runs"

    def study(factors, train):
        return started.study(
            study_jobs("digits", "dense", models.build_dense, recipe, factors),
            digits,
            train,
        )

    assert study(factors, train=False) == {}
    assert (
        "0 runs, trained for 0 minutes; 3 points left out, which TRAIN_STUDY = True"
        " would train" in capsys.readouterr().out
    )
    study({"rate": factors["rate"]}, train=True)
    found = study(factors, train=False)
    assert {factor: list(points) for factor, points in found.items()} == {
        "rate": ["lr-0.0005", "lr-0.1"],
        "batch": ["batch-128"],
    }
    assert found["rate"]["lr-0.0005"] is found["batch"]["batch-128"]
    assert [run.name for run in found["rate"]["lr-0.0005"]] == [
        f"digits/dense/study-base/seed-{seed}" for seed in (0, 1)
    ]
    said = capsys.readouterr().out
    assert "4 runs" in said and "1 point left out" in said
    trained, train, started.retrain = [], lesson.engine.train, True
    with monkeypatch.context() as watched:
        watched.setattr(
            lesson.engine,
            "train",
            lambda jobs, *rest: trained.extend(jobs) or train(jobs, *rest),
        )
        for _ in range(2):
            study({"rate": factors["rate"]}, train=True)
    assert len(trained) == 4
    started.retrain = False
    monkeypatch.setattr(
        lesson.engine, "train", lambda *_, **__: pytest.fail("trained again")
    )
    study({"rate": factors["rate"]}, train=True)
    assert started.numbers["digits.dense.lr-0.1.validation.accuracy_std"].value >= 0


def test_is_my_result_normal(monkeypatch, digits, recipe, tmp_path):
    run = train(digits, recipe, tmp_path / "runs")
    accuracy = run.record["metrics"]["test"]["accuracy"]
    known = {
        "setting": records.setting(run.record),
        "accuracies": [accuracy - 0.01, accuracy + 0.01],
        "weights": ["", ""],
    }
    started = lesson.Lesson("02_dense_baseline", "full", [digits], [0], False)
    monkeypatch.setattr(lesson, "EXPECTED", tmp_path / "expected.json")

    def verdict(**changes):
        lesson.EXPECTED.write_text(json.dumps({"digits/dense": known | changes}))
        return started.normal([Seeds([run])])["verdict"].item()

    assert verdict() == "normal"
    assert verdict(accuracies=[0.1, 0.11]) == "not normal: look for what differs"
    assert verdict(accuracies=[0.1]) == "one seed gives no interval"
    assert verdict(weights=[run.record["weights_sha256"]]) == "one of ours"
    assert verdict(setting="other").startswith("nothing to compare with")
    other = train(digits, recipe, tmp_path / "runs", seed=5)
    assert records.setting(other.record) == known["setting"]


def test_the_runtime_is_handed_back_only_when_asked_and_only_in_colab(
    monkeypatch, digits, tmp_path, capsys
):
    asked = []
    for module in (lesson, output):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    started = lesson.Lesson("02_dense_baseline", "full", [digits], [0], False)
    started.finish(hand_back_gpu=True)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    colab = types.ModuleType("google.colab.runtime")
    colab.unassign = lambda: asked.append(True)
    monkeypatch.setitem(sys.modules, "google.colab.runtime", colab)
    monkeypatch.setattr(backend.time, "sleep", lambda _: None)
    started.finish()
    assert not asked and "handed back" not in capsys.readouterr().out
    started.finish(hand_back_gpu=True)
    assert asked and "handed back now" in capsys.readouterr().out


def test_few_images_get_small_batches_and_sgd_a_smaller_rate(digits):
    def adapted(job, dataset):
        return lesson.adapted(job, dataset, epochs=3).recipe

    improved, two_conv, dense = (
        models.trial_jobs["cifar10"]["earlier"][0],
        models.two_conv_jobs[0],
        models.dense_jobs[0],
    )
    assert (
        len(digits.splits["training"]) // 64
        >= 16
        > len(digits.splits["training"]) // 128
    )
    recipe = adapted(improved, digits)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (
        3,
        64,
        improved.recipe.learning_rate / 8,
    )
    for job in (two_conv, models.improved_jobs[0]):  # Adam and Muon
        assert adapted(job, digits).learning_rate == job.recipe.learning_rate
    assert adapted(dense, digits.subset(["1", "7"])).batch_size == 16
    for job in models.improved_jobs:  # images need not be here
        assert lesson.adapted(job, lesson.datasets.KNOWN[job.dataset]) == job

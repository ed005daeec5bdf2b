import pytest
from lab import lesson
from lab.files import ROOT, LabError


def test_an_unknown_profile_is_one_sentence(monkeypatch):
    with pytest.raises(LabError, match="no profile 'fast': set PROFILE .* to 'quick' or 'full'"):
        lesson.start("02_dense_baseline", "fast")
    monkeypatch.setenv("LAB_PROFILE", "slow")
    with pytest.raises(LabError, match="no profile 'slow'"):
        lesson.start("02_dense_baseline", "full")


def test_no_data_set_is_one_sentence():
    with pytest.raises(LabError, match="DATASETS is empty"):
        lesson.start("02_dense_baseline", "quick", [])


def test_the_environment_variable_wins_and_quick_writes_under_build(monkeypatch):
    monkeypatch.setenv("LAB_PROFILE", "quick")
    started = lesson.start("02_dense_baseline", "full")
    assert [dataset.name for dataset in started.datasets] == ["digits"]
    assert started.output == ROOT / "build" / "quick" and started.runs_folder == started.output / "runs"


def test_a_narrowed_full_run_does_not_touch_the_committed_figures():
    started = lesson.start("02_dense_baseline", "full", ["digits"])
    assert started.output == ROOT / "build" / "digits" and started.runs_folder == ROOT / "data" / "runs"


def test_what_is_committed_is_replaced_by_all_of_it_or_not_at_all(monkeypatch, digits):
    from dataclasses import replace

    monkeypatch.setattr(lesson.datasets, "load", lambda name, *_: replace(
        digits, name=name, images=None if name == "fer2013" else digits.images))
    assert lesson.start("01_dataset_exploration", "full").output == ROOT / "build" / "without-fer2013"
    monkeypatch.setattr(lesson.datasets, "load", lambda name, *_: replace(digits, name=name))
    assert lesson.start("01_dataset_exploration", "full").output == ROOT


def test_classes_narrow_a_data_set_and_its_output(capsys):
    started = lesson.start("01_dataset_exploration", "quick", classes=["1", "7"])
    assert started.datasets[0].classes == ("1", "7") and started.output == ROOT / "build" / "quick-digits-1-7"
    with pytest.raises(LabError, match="CLASSES needs two classes"):
        lesson.start("01_dataset_exploration", "quick", classes="17")


def test_numbers_of_several_seeds_are_means_with_their_spread(tmp_path, digits, recipe):
    from lab import models, training

    runs = [training.train(models.build_dense, digits, recipe, "dense", seed, "main", tmp_path) for seed in (0, 1)]
    accuracies = [run.record["metrics"]["test"]["accuracy"] for run in runs]
    numbers = lesson.run_numbers(runs)
    assert numbers["digits.dense.test.accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert numbers["digits.dense.test.accuracy_std"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert numbers["digits.dense.seeds"] == 2


def test_lab_retrain_names_what_is_trained_again(monkeypatch, digits, recipe, tmp_path):
    from lab import training

    asked = []
    monkeypatch.setattr(training, "train", lambda *arguments: asked.append(arguments[-1]))
    monkeypatch.setattr(lesson.Lesson, "_note", lambda self, runs: runs)
    monkeypatch.setenv("LAB_RETRAIN", "digits/dense */two_conv")
    started = lesson.start("02_dense_baseline", "quick")
    for model in ("dense", "one_conv", "two_conv"):
        started.train(model, None, recipe, digits)
    assert asked == [True, False, True]

"""Colab and Kaggle: what was trained is found again when the computer is gone."""

import shutil
import sys
import types
from dataclasses import replace

import pandas as pd
import pytest

from conftest import train
from lab import engine
from lab.plumbing import files, keeping, sources, storage
from lab.plumbing.checkpoints import Checkpoints
from lab.plumbing.files import LabError


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """An empty folder that is Colab's, with a repository in it; yields the repository
    and the list of downloaded files.
    """
    content = tmp_path / "content"
    repository, downloaded = content / "dense-to-conv", []
    repository.mkdir(parents=True)
    package, inner = types.ModuleType("google.colab"), types.ModuleType("files")
    inner.download = downloaded.append
    package.files = inner
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setattr(keeping, "COLAB", content)
    for module in (keeping, engine, files):
        monkeypatch.setattr(module, "ROOT", repository)
    yield repository, downloaded
    storage.WATCHING.clear()


def interrupted(monkeypatch, epochs):
    """Interrupt a training after so many epochs."""
    original = Checkpoints.write

    def write(self, variables, state, best):
        original(self, variables, state, best)
        if len(state["history"]) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", write)
    return lambda: monkeypatch.setattr(Checkpoints, "write", original)


@pytest.mark.parametrize("named", [False, True], ids=["as a zip", "in a folder"])
def test_when_all_is_lost_runs_come_back_and_a_training_goes_on(
    named, digits, recipe, colab, tmp_path, monkeypatch, capsys
):
    (repository, downloaded), runs = colab, colab[0] / "data" / "runs"
    drive = tmp_path / "drive"
    drive.mkdir()
    keep = str(drive / "coursework") if named else ""
    long = replace(recipe, epochs=3)
    whole = train(digits, long, tmp_path / "elsewhere", seed=1)
    keeping.begin(keep, runs)
    first = train(digits, recipe, runs)
    goes_on = interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(digits, long, runs, seed=1)
    goes_on()
    capsys.readouterr()
    keeping.pack()
    assert "1 new runs and 1 unfinished trainings" in capsys.readouterr().out
    assert bool(downloaded) != named

    uploaded = None if named else (repository.parent / "trained.zip").read_bytes()
    shutil.rmtree(repository.parent)  # the computer is gone
    repository.mkdir(parents=True)
    if uploaded:
        (repository.parent / "trained (1).zip").write_bytes(uploaded)
    keeping.begin(keep, runs)
    assert train(digits, recipe, runs).record == first.record
    resumed = train(digits, long, runs, seed=1)
    said = capsys.readouterr().out
    assert "1 runs that were kept are back" in said and ", loaded" in said
    assert "resumed at epoch 3 of 3" in said
    assert resumed.record["weights_sha256"] == whole.record["weights_sha256"]


def test_a_newer_run_is_not_replaced_by_the_one_that_was_kept(
    digits, recipe, colab, capsys
):
    runs = colab[0] / "data" / "runs"
    keeping.begin("", runs)
    old = train(digits, recipe, runs)
    storage.WATCHING.clear()
    record = old.record | {"finished_at": "2999-01-01T00:00:00+00:00"}
    storage.store(old.path, record, old.history, old.predictions, None, ())
    keeping.begin("", runs)
    assert storage.read(old.path)[0]["finished_at"].startswith("2999")
    assert "are back" not in capsys.readouterr().out


def put(top, mark, day, variant="main"):
    """Store a run that ended on a day, without training."""
    record = {"dataset": "a", "model": "b", "variant": variant, "seed": 0}
    record |= {"fingerprint": mark, "metrics": {}, "finished_at": f"2026-01-{day:02d}"}
    path = top / "data" / "runs" / "a" / "b" / variant / "seed-0"
    storage.store(path, record, pd.DataFrame({"epoch": [1]}), {}, None, ())
    return path


def upload(folder, content):
    """Pack a folder as trained.zip in Colab's folder."""
    shutil.make_archive(str(content / "trained"), "zip", folder)


def test_an_older_run_of_another_recipe_replaces_no_newer_one(
    colab, tmp_path, monkeypatch
):
    repository, runs = colab[0], colab[0] / "data" / "runs"
    monkeypatch.setattr(storage, "ROOT", repository)
    put(tmp_path / "old", "old recipe", 1, "lr-0.1")
    put(tmp_path / "old", "other recipe", 2)
    upload(tmp_path / "old", repository.parent)
    study = put(repository, "new recipe", 3, "lr-0.1")
    headline = put(repository, "new recipe", 1)
    keeping.begin("", runs)
    assert storage.read(study)[0]["fingerprint"] == "new recipe"
    assert storage.read(headline)[0]["fingerprint"] == "new recipe"
    waits = storage.waiting(runs) / "a" / "b" / "main" / "seed-0"
    assert storage.read(waits)[0]["fingerprint"] == "other recipe"
    put(tmp_path / "old", "other recipe", 4, "lr-0.1")
    upload(tmp_path / "old", repository.parent)
    keeping.begin("", runs)
    assert storage.read(study)[0]["fingerprint"] == "other recipe"


def test_checkpoints_that_are_further_stay_and_older_ones_give_way(colab, tmp_path):
    repository, runs = colab[0], colab[0] / "data" / "runs"
    old, kept = (
        top / "checkpoints" for top in (tmp_path / "old", repository.parent / "trained")
    )
    for name, epoch in (("one", 2), ("two", 5)):
        (old / name).mkdir(parents=True)
        (old / name / f"{epoch:04d}-abc.npz").touch()
    upload(tmp_path / "old", repository.parent)
    for name, epoch in (("one", 9), ("two", 3)):  # trained here before
        here = repository / "build" / "checkpoints" / name
        here.mkdir(parents=True)
        (here / f"{epoch:04d}-def.npz").touch()
    for _ in range(2):  # starts of notebooks
        keeping.begin("", runs)
        names = [path.name for path in sorted(kept.glob("*/*"))]
        assert names == ["0009-def.npz", "0005-abc.npz"]
        assert (repository / "build" / "checkpoints").resolve() == kept.resolve()


def test_what_cannot_keep_or_bring_back_is_one_sentence(colab, tmp_path):
    runs = colab[0] / "data" / "runs"
    with pytest.raises(LabError, match="there is no folder .*drive: make it"):
        keeping.begin(str(tmp_path / "drive" / "coursework"), runs)
    (colab[0].parent / "trained.zip").write_bytes(b"PK torn")
    with pytest.raises(LabError, match="trained.zip is damaged .*: upload it again"):
        keeping.begin("", runs)


def test_elsewhere_nothing_is_kept_twice(digits, recipe, tmp_path, capsys):
    keeping.begin("", tmp_path / "runs")
    train(digits, recipe, tmp_path / "runs")
    keeping.pack()
    said = capsys.readouterr().out
    assert f"New runs stay in this folder of the repository: {tmp_path}/runs." in said
    assert len(list(tmp_path.rglob("run.json"))) == 1


def test_files_are_found_among_the_inputs_of_a_kaggle_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(sources, "KAGGLE", tmp_path / "input")
    folder = tmp_path / "input" / "datasets" / "owner" / "fer2013" / "archive"
    folder.mkdir(parents=True)
    (folder / "fer2013.csv").touch()
    assert sources.found("fer2013.csv") == [folder / "fer2013.csv"]


def test_in_kaggle_what_was_kept_is_found_among_the_inputs(
    colab, tmp_path, monkeypatch
):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(keeping, "KAGGLE", tmp_path / "kaggle")
    monkeypatch.setattr(sources, "KAGGLE", tmp_path / "kaggle" / "input")
    (tmp_path / "kaggle" / "working").mkdir(parents=True)
    kept = tmp_path / "kaggle" / "input" / "version" / "trained"
    put(kept, "recipe", 1)
    (kept / keeping.MARK).touch()
    runs = colab[0] / "data" / "runs"
    keeping.begin("", runs)
    found = storage.read(runs / "a" / "b" / "main" / "seed-0")
    assert found[0]["fingerprint"] == "recipe"

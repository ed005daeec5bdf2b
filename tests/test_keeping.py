"""Colab and Kaggle: what was trained is found again when the computer is gone."""

import shutil
import sys
import types
from dataclasses import replace

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
    assert "New runs stay in this folder" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("run.json"))) == 1


def test_files_are_found_among_the_inputs_of_a_kaggle_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(sources, "KAGGLE", tmp_path / "input")
    folder = tmp_path / "input" / "datasets" / "owner" / "fer2013" / "archive"
    folder.mkdir(parents=True)
    (folder / "fer2013.csv").touch()
    assert sources.found("fer2013.csv") == [folder / "fer2013.csv"]

"""Fixtures: a small data set, short recipes, and a copy of the repository to run or to
damage.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
for name in ("LAB_PROFILE", "LAB_LANGUAGE"):
    os.environ.pop(name, None)


def packages(folder):
    """Return the PYTHONPATH with which a process takes the packages of a checkout."""
    return os.pathsep.join([str(folder / "notebooks"), str(folder)])


os.environ["PYTHONPATH"] = packages(ROOT)


def pytest_make_parametrize_id(val, argname):
    """Number long values: archives hold the time of their making, and both processes
    must find the same tests.
    """
    return argname if isinstance(val, (bytes, str)) and len(val) > 60 else None


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep the tests of the quick profile's run in one process, so that it is made
    once.
    """
    for item in items:
        if "quick" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("quick"))


@pytest.fixture
def offline(monkeypatch):
    """Data sets are those that are here: nothing is downloaded."""
    from lab.plumbing import files, sources

    def refused(*_):
        raise files.LabError("no network in tests")

    monkeypatch.setattr(sources, "fetch", refused)
    monkeypatch.setattr(sources, "kaggle", lambda handle: None)


@pytest.fixture(scope="session")
def digits():
    from lab import datasets

    return datasets.load("digits")


@pytest.fixture(scope="session")
def recipe():
    """The dense network's recipe, for two epochs."""
    from lab import models

    return replace(models.dense_recipe, epochs=2)


def train(dataset, recipe, folder, retrain=False, **fields):
    """Train the dense network, or what `fields` of the job say instead, and return the
    run.
    """
    from lab import engine, models
    from lab.recipes import Job

    fields = {
        "model": "dense",
        "variant": "main",
        "seed": 0,
        "build": models.build_dense,
        "test": True,
    } | fields
    return engine.train(
        [Job(dataset=dataset.name, recipe=recipe, **fields)], dataset, folder, retrain
    )[0]


def copy_repository(to):
    """Copy the files that .gitignore lets pass into a folder; git is not needed."""
    from mutate import copied

    return copied(to)


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository that a test may damage."""
    return copy_repository(tmp_path / "copy")


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """A copy of the repository in which the five notebooks have run in the quick
    profile.
    """
    folder = copy_repository(tmp_path_factory.mktemp("quick") / "repository")
    nowhere = "http://127.0.0.1:9"  # nothing is downloaded
    proxies = {"http_proxy": nowhere, "https_proxy": nowhere}
    done = tool(folder, "notebooks.py", "run", "quick", **proxies)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def apart(folder, **environment):
    """Return the environment in which a process takes the packages of a copy."""
    return os.environ | {"PYTHONPATH": packages(folder)} | environment


def tool(folder, name, *arguments, **environment):
    """Run a tool of a copy with this Python and return the finished process."""
    return subprocess.run(
        [sys.executable, f"tools/{name}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=apart(folder, **environment),
    )

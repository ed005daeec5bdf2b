"""The one list of what is trained."""

import importlib.util
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from conftest import ROOT, tool
from lab import models
from lab.datasets import KNOWN
from lab.lesson import DATASETS
from lab.plan import job_of, plan
from lab.plumbing.files import LabError
from lab.plumbing.fingerprint import fingerprint, operations
from lab.plumbing.names import MODEL_TITLES as MODELS
from lab.recipes import Job, Recipe, jobs_in, study_jobs
from lab.runs import read
from plan import cost, fits, matching

RUNS = ROOT / "data" / "runs"


def test_every_stored_run_has_its_job_and_every_headline_job_its_run():
    stored = {
        path.parent.relative_to(RUNS).as_posix()
        for name in DATASETS["full"]  # a student has runs on own pictures, too
        for path in (RUNS / name).rglob("run.json")
    }
    assert stored and stored <= set(plan())
    assert {name for name, job in plan().items() if job.variant == "main"} <= stored


def test_the_plan_holds_every_network_of_the_story_on_every_data_set():
    headline = {
        (job.dataset, job.model) for job in plan().values() if job.variant == "main"
    }
    assert headline == {
        (name, model)
        for name in ("fashion_mnist", "cifar10", "fer2013")
        for model in MODELS
    }


def test_no_job_that_a_tagged_cell_makes_is_lost(monkeypatch):
    made, begin = {}, Job.__init__

    def counted(self, *arguments, **options):
        begin(self, *arguments, **options)
        made[self.name, str(self.recipe)] = self

    monkeypatch.setattr(Job, "__init__", counted)
    source = Path(models.__file__).read_text()
    exec(compile(source, "models.py", "exec"), {"__package__": "lab"})
    kept = {(job.name, str(job.recipe)) for job in plan().values()}
    lost = set(made) - kept
    assert not lost, f"a later cell gives another value to the list of {lost}: rename"


def test_jobs_of_one_name_are_one_job_or_a_mistake(monkeypatch):
    job = models.dense_jobs[0]
    monkeypatch.setattr(
        models, "copies", [replace(job), {"again": [job]}], raising=False
    )
    assert plan()[job.name] == job
    monkeypatch.setattr(
        models,
        "copies",
        [replace(job, recipe=replace(job.recipe, epochs=3))],
        raising=False,
    )
    with pytest.raises(
        LabError, match="Two jobs are called fashion_mnist/dense/main/seed-0 and differ"
    ):
        plan()


def test_a_network_of_ones_own_joins_the_plan_and_its_job_keeps_weights(monkeypatch):
    mine = Job(
        "cifar10",
        "mine",
        "main",
        0,
        Recipe(epochs=1),
        models.build_dense,
        test=True,
        weights=True,
    )
    monkeypatch.setattr(models, "mine_jobs", [mine], raising=False)
    assert plan()[mine.name].weights


def test_points_of_a_study_differ_in_what_they_name_and_share_their_base():
    base = Recipe(epochs=2)
    points = study_jobs(
        "cifar10",
        "dense",
        models.build_dense,
        base,
        {
            "rate": {"lr-1": {"learning_rate": 1.0}, "lr-0.001": {}},
            "batch": {"batch-32": {}},
        },
        corrupted=("study-base",),
    )
    assert points["rate"]["lr-0.001"] == points["batch"]["batch-32"]
    jobs = list(jobs_in(points))
    assert {(job.variant, job.seed): job.corrupted for job in jobs} == {
        ("lr-1", 0): False,
        ("lr-1", 1): False,
        ("study-base", 0): True,
        ("study-base", 1): False,
    }
    assert {job.recipe.learning_rate for job in jobs if job.variant == "lr-1"} == {
        1.0
    } and not any(job.test for job in jobs)


def test_a_point_that_two_seeds_cannot_tell_gets_more():
    points = study_jobs(
        "cifar10",
        "dense",
        models.build_dense,
        Recipe(epochs=2),
        {"rate": {"lr-1": {"learning_rate": 1.0}, "lr-0.001": {}}},
        more={"study-base": 5},
    )
    assert [job.seed for job in points["rate"]["lr-0.001"]] == [0, 1, 2, 3, 4] and len(
        points["rate"]["lr-1"]
    ) == 2


def changed(job, base):
    """The fields of a recipe in which a job differs from a base."""
    recipe, other = asdict(job.recipe), asdict(base)
    return {name for name, value in recipe.items() if value != other[name]}


def test_controlled_networks_differ_in_their_architecture_alone():
    for name, steps in models.controlled_jobs.items():
        jobs = list(jobs_in(steps))
        assert (
            len(jobs) == 21
            and {job.dataset for job in jobs} == {name}
            and all(job.test for job in jobs)
        )
        assert all(
            changed(job, models.controlled_recipe) == {"model_arguments"}
            for job in jobs
        )


def test_networks_of_equal_size_and_of_equal_cost_are_what_they_are_called():
    for name, steps in models.controlled_jobs.items():
        shape, classes = KNOWN[name].shape, len(KNOWN[name].classes)
        built = {
            step: jobs[0].build(shape, classes, **jobs[0].recipe.model_arguments)
            for step, jobs in steps.items()
        }
        blocks = built["two-blocks"]
        assert built["dense-parameters"].count_params() == pytest.approx(
            blocks.count_params(), rel=0.005
        )
        assert operations(built["dense-operations"]) == pytest.approx(
            operations(blocks), rel=0.005
        )


@pytest.mark.parametrize(
    "jobs, base, fields",
    [
        (
            models.overfit_jobs,
            models.published_recipe,
            {"model_arguments", "augmentation", "schedule", "subset"},
        ),
        (models.rate_jobs, models.published_recipe, {"learning_rate"}),
        (models.epochs_jobs, models.study_recipe, {"epochs"}),
        (models.clean_jobs, models.two_conv_recipe, {"leave_out"}),
    ],
)
def test_experiments_change_one_field_of_their_base(jobs, base, fields):
    found = [changed(job, base) for job in jobs_in(jobs)]
    assert set().union(*found) == fields and all(len(names) <= 1 for names in found)


def test_learning_rate_and_batch_size_are_changed_together_and_equal_steps_are_equal():
    assert all(
        changed(job, models.study_recipe) <= {"learning_rate", "batch_size"}
        for job in jobs_in(models.pair_jobs)
    )
    for job in jobs_in(models.equal_steps_jobs):
        assert job.recipe.subset * job.recipe.epochs == models.study_recipe.epochs
        assert changed(job, models.study_recipe) == {"subset", "epochs"}


@pytest.mark.parametrize(
    "pattern, fit",
    [
        ("cifar10/improved/*", True),
        ("cifar10/improved", True),
        ("*/main/*", True),
        ("cifar10", True),
        ("cifar10/improved/main/seed-0", True),
        ("cifar10/imp", False),
        ("*/no-*", False),
        ("*", True),
    ],
)
def test_patterns_name_runs_or_the_beginning_of_their_names(pattern, fit):
    assert fits("cifar10/improved/main/seed-0", pattern) == fit


def test_jobs_come_in_the_order_of_the_patterns_and_one_without_jobs_is_a_mistake():
    jobs = list(plan().values())
    chosen = [
        job.name
        for job in matching(jobs, ["*/two_conv/main/seed-1", "cifar10/dense/main"])
    ]
    assert chosen[:3] == [
        f"{name}/two_conv/main/seed-1"
        for name in ("fashion_mnist", "cifar10", "fer2013")
    ]
    assert chosen[3:] == [f"cifar10/dense/main/seed-{seed}" for seed in range(5)]
    with pytest.raises(
        LabError, match="No job is called cifar100: make plan lists them all"
    ):
        matching(jobs, ["cifar100"])


def test_a_record_gives_its_job_back():
    for name in ("cifar10/dense/main/seed-0", "fer2013/improved/study-base/seed-1"):
        job, made = plan()[name], job_of(read(RUNS / name).record)
        assert made.build is job.build and made.name == job.name
    with pytest.raises(LabError, match="has no build_other"):
        job_of({"model": "other", "metrics": {}})


@pytest.fixture
def listing(tmp_path, monkeypatch):
    """The tool, with its files in `tmp_path`."""
    made = importlib.util.spec_from_file_location("listing", ROOT / "tools" / "plan.py")
    made.loader.exec_module(tool := importlib.util.module_from_spec(made))
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "RUNS", tmp_path / "data" / "runs")
    monkeypatch.setattr(tool, "BATCH", tmp_path / "retrain.json")
    return tool


def test_an_interrupted_retraining_goes_on_where_it_was(listing, monkeypatch, recipe):
    path, began = listing.BATCH, "2026-01-01T00:00:00+00:00"
    path.write_text(json.dumps({"patterns": ["digits"], "began": began}))
    assert listing.batch(["digits"]) == began
    ends = {0: "2026-01-02", 1: "2025-12-31"}  # after the command began, and before
    monkeypatch.setattr(
        listing.engine,
        "stored",
        lambda job, *_: SimpleNamespace(record={"finished_at": ends[job.seed]}),
    )
    build = models.build_dense
    jobs = [Job("digits", "dense", "main", seed, recipe, build) for seed in (0, 1)]
    assert [
        job.seed for job in listing.wanted(["digits"], jobs, listing.RUNS, True)
    ] == [1]
    for other in (json.dumps({"patterns": ["cifar10"], "began": began}), "{}"):
        path.write_text(other)
        assert listing.batch(["digits"]) > began


@pytest.mark.long
def test_seeds_that_wait_keep_the_runs_of_the_recipe_before_fresh(copy):
    old = copy / "data" / "runs" / "cifar10" / "dense" / "main" / "seed-0"
    new = copy / "data" / "next" / "cifar10" / "dense" / "main" / "seed-0"
    shutil.copytree(old, new)
    path = copy / "notebooks" / "lab" / "models.py"
    path.write_text(path.read_text().replace("epochs=20,", "epochs=21,", 1))
    job = replace(
        plan()["cifar10/dense/main/seed-0"],
        recipe=replace(models.dense_recipe, epochs=21),
    )
    record = json.loads((new / "run.json").read_text())
    record["fingerprint"] = fingerprint(job, KNOWN["cifar10"])
    (new / "run.json").write_text(json.dumps(record))
    said = tool(copy, "check.py").stdout
    stale = [
        line for line in said.splitlines() if "has changed since it was trained" in line
    ]
    assert len(stale) == 10 and not any("cifar10" in line for line in stale)


def test_make_plan_counts_what_is_finished_and_says_what_the_rest_costs(copy):
    for seed in (1, 2):
        (
            copy
            / "data"
            / "runs"
            / "cifar10"
            / "dense"
            / "main"
            / f"seed-{seed}"
            / "run.json"
        ).unlink()
    said = tool(
        copy, "plan.py", "list", "cifar10/dense/main", "fer2013/dense/main"
    ).stdout
    assert (
        "cifar10/dense/main                                   3 finished, 2 missing;"
        " 0.00852 PFLOP and about " in said
    )
    assert (
        "fer2013/dense/main                                   5 finished" in said
        and "10 jobs; what is missing would take about" in said
    )


@pytest.mark.long
def test_check_names_runs_without_a_job_and_of_a_changed_recipe_its_runs_alone(copy):
    runs, path = (
        copy / "data" / "runs" / "cifar10" / "two_conv",
        copy / "notebooks" / "lab" / "models.py",
    )
    (runs / "lr-0.1").rename(runs / "lr-0.2")
    before, recipe, after = path.read_text().partition("wide_objects = ")
    path.write_text(before + recipe + after.replace('"epochs": 20', '"epochs": 21', 1))
    said = tool(copy, "check.py").stdout
    assert "data/runs/cifar10/two_conv/lr-0.2/seed-0: no job asks for it" in said
    assert (
        "jobs have no run (make retrain RUNS=missing): " in said
        and "cifar10/two_conv/lr-0.1 2" in said
    )
    stale = [
        line for line in said.splitlines() if "has changed since it was trained" in line
    ]
    assert len([line for line in stale if "/main/" in line]) == 3
    assert all("cifar10/improved/" in line for line in stale)


def test_a_grader_trains_one_seed_of_each_network_apart_and_gets_a_verdict(
    listing, recipe, tmp_path, monkeypatch, capsys
):
    jobs = [
        Job(
            "digits",
            model,
            variant,
            seed,
            replace(recipe, epochs=1),
            models.build_dense,
            test=True,
        )
        for model, variant, seed in (
            ("dense", "main", 0),
            ("dense", "main", 1),
            ("dense", "lr-1", 0),
            ("mine", "main", 0),
        )
    ]
    monkeypatch.setattr(listing, "plan", lambda: {job.name: job for job in jobs})
    for word in ("trained", "loaded"):
        listing.train(["grader"])
        said = capsys.readouterr().out
        assert said.count(f", {word}") == 2 and "2 runs in build/grader/runs" in said
        assert "digits/dense" in said and "nothing to compare with" in said
    assert len(list(tmp_path.rglob("run.json"))) == 2
    monkeypatch.setattr(listing, "plan", lambda: {})
    with pytest.raises(LabError, match="No data set is here"):
        listing.train(["grader"])


def test_a_network_has_the_name_of_the_function_that_builds_it():
    def build_dense(input_shape, classes):
        """A function of the reader's, as in a hand-in."""

    jobs = models.jobs_for("digits", "open", build_dense, models.two_conv_recipe, 2)
    assert [(job.model, job.seed) for job in jobs] == [("dense", 0), ("dense", 1)]


def test_the_cost_of_a_network_whose_input_nobody_has_named():
    def build_mine(shape, classes):
        head = keras.layers.Dense(classes, activation="softmax")
        return keras.Sequential([keras.layers.Flatten(), head])

    job = Job("digits", "mine", "main", 0, Recipe(epochs=2), build_mine)
    assert cost(job) == 3 * (2 * 256 * 10) * 1079 * 2


def test_only_what_is_missing_is_trained_when_that_is_asked(
    listing, recipe, monkeypatch, capsys
):
    short = replace(recipe, epochs=1), models.build_dense
    jobs = [Job("digits", "dense", "main", seed, *short) for seed in (0, 1)]
    monkeypatch.setattr(listing, "plan", lambda: {job.name: job for job in jobs})
    listing.train(["digits/dense/main/seed-0"])
    assert capsys.readouterr().out.count(", trained") == 1
    listing.train(["missing"])
    assert capsys.readouterr().out.count(", trained") == 1
    assert len(list(listing.RUNS.rglob("run.json"))) == 2
    listing.train(["missing", "digits"])
    assert "0 runs in" in capsys.readouterr().out


def test_a_seed_is_finished_or_waits_or_is_of_another_recipe_or_missing(
    listing, recipe, digits
):
    def jobs(epochs):
        new = replace(recipe, epochs=epochs)
        return [
            Job("digits", "dense", "main", seed, new, models.build_dense, test=True)
            for seed in range(3)
        ]

    listing.engine.train(jobs(1)[:2], digits, listing.RUNS)
    assert [listing.state(job) for job in jobs(1)] == ["finished"] * 2 + ["missing"]
    listing.engine.train(jobs(2)[:1], digits, listing.RUNS, seeds=jobs(2))
    said = [listing.state(job) for job in jobs(2)]
    assert said == ["waiting", "other", "missing"]

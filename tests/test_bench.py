"""The benchmarks count and rebuild what they say."""

import itertools
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

import baselines
import bench
import report
from conftest import ROOT
from lab import LabError, models
from lab.plumbing.backend import keras
from lab.plumbing.screen import Line


def test_operations_are_those_counted_by_hand():
    inputs = keras.Input((8, 8, 3))
    # 6 x 6 places, 3 x 3 x 3 products for each of 5 filters:
    x = keras.layers.Conv2D(5, 3)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))
    assert bench.operations(model) == 2 * (36 * 27 * 5 + 180 * 4)


def test_the_improved_network_costs_what_its_paper_says():
    # 0.36 PFLOP for 9.9 epochs of 50,000 images
    total = 3 * bench.operations(models.build_improved((32, 32, 3), 10)) * 9.9 * 50_000
    assert total == pytest.approx(0.36e15, rel=0.03)


@pytest.mark.parametrize(
    "function, parameters",
    [(baselines.tutorial, 122_570), (baselines.resnet20, 274_442)],
)
def test_the_baselines_have_the_published_number_of_parameters(function, parameters):
    model = function(np.zeros((2, 32, 32, 3), np.uint8))
    assert (
        model.count_params()
        - sum(
            np.prod(w.shape)
            for layer in model.layers
            if isinstance(layer, keras.layers.Normalization)
            for w in layer.weights
        )
        == parameters
    )
    assert model.output_shape == (None, 10)


tutorial, resnet = baselines.BASELINES


@pytest.mark.parametrize(
    "name", [tutorial, pytest.param(resnet, marks=pytest.mark.long)]
)
def test_no_epoch_of_a_baseline_begins_that_would_end_too_late(name, monkeypatch):
    clock = itertools.count(0, 10)  # each epoch takes ten seconds
    now = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(baselines, "time", now)
    rng = np.random.default_rng(0)
    model, epochs, seconds = baselines.train(
        name,
        rng.integers(0, 256, (64, 32, 32, 3), np.uint8),
        rng.integers(0, 10, 64),
        35.0,
        Line(),
    )
    assert (epochs, seconds) == (3, 30)
    assert np.isfinite(model.predict(np.zeros((1, 32, 32, 3)), verbose=0)).all()


def test_baselines_without_our_runs_ask_for_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "ROOT", tmp_path)
    monkeypatch.setattr(baselines.datasets, "load", lambda name: None)
    with pytest.raises(LabError, match="improved/earlier holds no runs.* MINUTES=20"):
        baselines.main()


PEER = """
import json, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, "tools")
import peer
rng = np.random.default_rng(0)
part = rng.integers(0, 256, (1024, 32, 32, 3), np.uint8), rng.integers(0, 10, 1024)
data = dict.fromkeys(("training", "validation", "test"), part)
print(json.dumps([peer.train(Path(sys.argv[1]), data, epochs=1), peer.HYPER]))
"""


@pytest.mark.long
@pytest.mark.skipif(
    not find_spec("airbench"), reason="pip install -r tools/airbench.txt"
)
def test_airbench_trains_on_a_processor_as_the_report_says(tmp_path):
    command = [sys.executable, "-c", PEER, str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    facts, published = json.loads(said.stdout.splitlines()[-1])
    ours = bench.operations(models.build_improved((32, 32, 3), 10))
    assert facts["operations"] == ours
    assert facts["seconds"] > 0 and facts["epochs"] == 1
    for key in ("validation_answers", "validation_views", "test_answers", "test_views"):
        assert len(facts[key]) == 1024 and facts[key].isdigit()
    recipe = report.BASELINE_RECIPES[baselines.PEER]
    for field, name in (
        ("batch size", "batch_size"),
        ("learning rate", "lr"),
        ("optimizer", "momentum"),
        ("regularisation", "weight_decay"),
        ("regularisation", "label_smoothing"),
    ):
        assert str(published[name]) in recipe[field]


@pytest.mark.long
def test_the_bench_compares_our_epoch_with_a_plain_one(capsys):
    bench.main(bench.pictures(training=64, validation=50))
    said = capsys.readouterr().out
    for line in (
        "an epoch of lab.training",
        "the same under model.fit",
        "ratio, ours to model.fit",
        "shuffling and augmentation",
        "checkpoint",
        "matrix product, 4,096 squared",
        "training the improved network",
        "the same in mixed bfloat16",
        "faces in a video, 640 x 480",
    ):
        assert re.search(rf"^{line} +\d", said, flags=re.M), said
    assert re.search(r"^the demo's page opens +\d+\.\d s after", said, flags=re.M), said

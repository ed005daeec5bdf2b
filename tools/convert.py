"""Bring runs of before to the record format of now: pflop, and answers alone where the test images were never opened.

usage: convert.py      changes data/runs in place; metrics stay as they are, or it stops
"""
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
from lab import datasets, models, runs, training  # noqa: E402
from lab.files import sha256, write, writing  # noqa: E402
from lab.jobs import Recipe  # noqa: E402

for path in sorted((ROOT / "data" / "runs").rglob("run.json")):
    run = runs.read(path.parent)
    record, recipe = run.record, Recipe(**run.record["recipe"])
    if "pflop" not in record:
        known = datasets.KNOWN[record["dataset"]]
        network = training.build(getattr(models, f"build_{record['model']}"), known, recipe)
        images = len(datasets.read_splits(known)["training"])
        record["pflop"] = training.pflop(network, int(images * (recipe.subset or 1)), record["epochs_run"])
    if "test" not in record["metrics"] and "validation_answer" not in run.predictions:
        arrays = training.answers_alone(run.predictions)
        with writing(path.parent / "predictions.npz") as part:
            np.savez_compressed(part, **arrays)
        record["predictions_sha256"] = sha256(path.parent / "predictions.npz")
        if runs.all_metrics(arrays) != {split: record["metrics"][split] for split in ("validation",)}:
            sys.exit(f"{path}: other metrics")
    write(path, json.dumps(record, indent=1, sort_keys=True) + "\n")

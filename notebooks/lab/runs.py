"""What a training run leaves behind: written whole, read only where it is undamaged."""
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import evaluation
from .backend import keras
from .files import ROOT, LabError, relative, sha256, write, writing
from .screen import clock


@dataclass
class Run:
    """A finished run: `record` is its run.json, `history` a row an epoch, `predictions` arrays."""

    path: Path
    record: dict
    history: pd.DataFrame
    predictions: dict

    @property
    def name(self):
        """dataset/model/variant/seed-k, its place under data/runs."""
        return "/".join(self.path.parts[-4:])

    def test(self):
        """Return (probabilities, labels) of the test images, in the order of the split."""
        return self.predictions["test_probabilities"], self.predictions["test_labels"]

    def load_weights(self, model, classes):
        """Put the stored weights (float16) into a freshly built `model` and return it.

        classes: the names of the model's answers. Raises LabError where the file is missing or altered, or
        holds the weights of another network or of other classes.
        """
        stored = self.path / "weights.npz"
        if self.record["weights_file_sha256"] is None:
            raise LabError(f"{self.name} was stored without its weights, which seed 0 alone keeps: train that too.")
        if not stored.exists() or sha256(stored) != self.record["weights_file_sha256"]:
            raise LabError(f"{relative(stored)} is missing or altered: git checkout {relative(stored)}")
        with np.load(stored) as arrays:
            weights = [arrays[key].astype(np.float32) for key in sorted(arrays) if key.isdigit()]
            order = arrays["classes"].tolist() if "classes" in arrays else list(classes)  # our first runs have none
        if order != list(classes):
            raise LabError(f"The answers of {self.name} are {', '.join(order)}, in this order, and not {', '.join(classes)}.")
        if [one.shape for one in weights] != [tuple(one.shape) for one in model.weights]:
            raise LabError(f"The weights of {self.name} do not fit the network, which has changed since: train it again.")
        model.set_weights(weights)
        return model


def all_metrics(predictions):
    """Return the metrics of each split that was predicted, from the stored arrays.

    Where test images have the pixels of a training image, `accuracy_without_leaked` leaves them out.
    """
    found = {split: evaluation.metrics(predictions[f"{split}_probabilities"], predictions[f"{split}_labels"])
             for split in ("validation", "test") if f"{split}_labels" in predictions}
    for split in found:
        if f"{split}_probabilities_tta" in predictions:
            found[split]["accuracy_tta"] = evaluation.metrics(
                predictions[f"{split}_probabilities_tta"], predictions[f"{split}_labels"])["accuracy"]
    if "test_leaked" in predictions:
        clean = ~predictions["test_leaked"]
        found["test"]["accuracy_without_leaked"] = evaluation.metrics(
            predictions["test_probabilities"][clean], predictions["test_labels"][clean])["accuracy"]
    return found


def weights_sha256(network):
    """Return the SHA-256 of all weights as float32, in the model's order."""
    return sha256(*(np.ascontiguousarray(w, "<f4") for w in network.get_weights()))


def read(path):
    """Return the finished Run stored in the folder `path`, or None where there is none.

    Raises LabError when its files do not belong together.
    """
    path = Path(path)
    if not (path / "run.json").exists():
        return None
    try:
        record = json.loads((path / "run.json").read_text())
        if sha256(path / "predictions.npz") != record["predictions_sha256"]:
            raise ValueError("predictions.npz has another hash")
        with np.load(path / "predictions.npz") as arrays:
            predictions = dict(arrays)
        return Run(path, record, pd.read_csv(path / "history.csv"), predictions)
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"The run in {relative(path)} is damaged ({error}): "
                       f"git checkout {relative(path)}, or delete the folder to train it again.") from None


def store(path, record, history, predictions, weights, classes):
    """Write a run into a folder beside `path`, then put it in its place as a whole.

    weights: arrays, or None; `classes`, the names in the order of the network's answers, are stored with them.
    """
    fresh, old = path.with_name(f".{path.name}-new"), path.with_name(f".{path.name}-old")
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    with writing(fresh / "predictions.npz") as part:
        np.savez_compressed(part, **predictions)
    record["predictions_sha256"] = sha256(fresh / "predictions.npz")
    record["weights_file_sha256"] = None
    if weights is not None:
        with writing(fresh / "weights.npz") as part:
            np.savez_compressed(part, classes=classes, **{f"{i:03d}": w.astype(np.float16) for i, w in enumerate(weights)})
        record["weights_file_sha256"] = sha256(fresh / "weights.npz")
    write(fresh / "history.csv", history.to_csv(index=False, lineterminator="\n"))
    write(fresh / "run.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
    if path.exists():
        os.replace(path, old)
    os.replace(fresh, path)
    shutil.rmtree(old, ignore_errors=True)
    return read(path)


class Checkpoints:
    """The state of an unfinished run after its last two epochs, each in one file.

    A file's name ends in the hash of its content, so a damaged one is noticed and set aside.
    """

    def __init__(self, folder):
        self.folder = folder

    def write(self, variables, state, best_weights):
        """Store all variables (weights, dropout seeds, optimiser), the state and the best weights."""
        arrays = {f"v{i:03d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
        arrays |= {f"w{i:03d}": weight for i, weight in enumerate(best_weights or [])}
        state = {key: state[key] for key in ("history", "seconds", "best")}
        with writing(self.folder / "new.npz") as part:
            np.savez(part, state=json.dumps(state), **arrays)
        new = self.folder / "new.npz"
        os.replace(new, self.folder / f"{len(state['history']):04d}-{sha256(new)[:16]}.npz")
        for old in self._files()[2:]:
            old.unlink()

    def read(self, variables):
        """Restore `variables` from the newest sound file and return its state, or None."""
        for path in self._files():
            try:
                if sha256(path)[:16] != path.stem[-16:]:
                    raise ValueError
                with np.load(path) as arrays:
                    stored = dict(arrays)
                for i, variable in enumerate(variables):
                    variable.assign(stored[f"v{i:03d}"])
                best = [stored[key] for key in sorted(stored) if key.startswith("w")]
                return json.loads(str(stored["state"])) | {"best_weights": best or None}
            except (OSError, ValueError, KeyError):
                print(f"The checkpoint {relative(path)} is damaged and set aside; the one before it is used.")
                path.rename(path.with_suffix(".damaged"))
        return None

    def clear(self):
        """Delete the checkpoints of a run that is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self):
        return sorted(self.folder.glob("[0-9]*.npz"), reverse=True)


def label(model, variant):
    """Return the name of a network, with its variant where that is not the headline one."""
    return model if variant == "main" else f"{model} {variant}"


def summary(run):
    """Return a line on a finished run: what, accuracy on validation, when, where and how long."""
    record = run.record
    return (f"{label(record['model'], record['variant'])} on {record['dataset']}, seed {record['seed']}: "
            f"{record['epochs_run']} epochs in "
            f"{clock(record['seconds']['train'])} on {record['finished_at'][:10]} ({record['environment']['device']}); "
            f"validation accuracy {record['metrics']['validation']['accuracy']:.1%}")


def git_commit():
    """Return HEAD's hash, with -dirty when tracked files differ from it; None outside git."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None

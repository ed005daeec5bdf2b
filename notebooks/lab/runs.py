"""What a training run leaves behind: written whole, read only where it is undamaged."""
import errno
import json
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import evaluation
from .backend import keras, out_of_memory
from .files import ROOT, LabError, beside, relative, sha256, write, writing
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
        return answers(self.predictions, "test")

    def validation(self):
        """Return (probabilities, labels) of the validation images; see `answers`."""
        return answers(self.predictions, "validation")

    def load_weights(self, model, classes):
        """Put the stored weights (float16) into a freshly built `model` and return it.

        classes: the names of the model's answers. Raises LabError where the file is missing or altered, or
        holds the weights of another network or of other classes.
        """
        stored = self.path / "weights.npz"
        if self.record["weights_file_sha256"] is None:
            raise LabError(f"{self.name} was stored without its weights: take a seed whose job has weights=True, or train it so.")
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


@dataclass
class Trained:
    """What `lab.training.fit` returns, and `store` writes: as Run, and the weights where the job keeps them."""

    record: dict
    history: pd.DataFrame
    predictions: dict
    weights: list
    classes: tuple


def answers(predictions, split, tta=""):
    """Return (probabilities, labels) of a split, in its order, from the stored arrays.

    Runs that never open the test images store of each validation image the answer, its probability and that of the
    label; all other probabilities are 0 here. Accuracy, macro-F1 and log-loss follow from these alone.
    tta: "_tta" for means over views.
    """
    labels = predictions[f"{split}_labels"]
    if f"{split}_probabilities{tta}" in predictions:
        return predictions[f"{split}_probabilities{tta}"], labels
    rows, probabilities = np.arange(len(labels)), np.zeros((len(labels), int(predictions["classes"])), np.float16)
    if not tta:
        probabilities[rows, labels] = predictions[f"{split}_p_label"]
    probabilities[rows, predictions[f"{split}_answer{tta}"]] = 1 if tta else predictions[f"{split}_p_answer"]
    return probabilities, labels


def all_metrics(predictions):
    """Return the metrics of each split that was predicted, from the stored arrays.

    Where images have the pixels of a training image, the metrics `..._without_leaked` leave them out.
    """
    found = {}
    if "training_right" in predictions:
        found["training"] = {"accuracy": float(predictions["training_right"].mean())}
    for split in ("validation", "test"):
        if f"{split}_labels" not in predictions:
            continue
        everything = np.ones(len(predictions[f"{split}_labels"]), bool)
        found[split] = _metrics(predictions, split, everything)
        if f"{split}_leaked" in predictions:
            clean = _metrics(predictions, split, ~predictions[f"{split}_leaked"])
            found[split] |= {f"{name}_without_leaked": clean[name] for name in ("accuracy", "macro_f1", "accuracy_tta") if name in clean}
    return found


def _metrics(predictions, split, chosen):
    probabilities, labels = answers(predictions, split)
    found = evaluation.metrics(probabilities[chosen], labels[chosen])
    if {f"{split}_probabilities_tta", f"{split}_answer_tta"} & set(predictions):
        views, labels = answers(predictions, split, "_tta")
        found["accuracy_tta"] = evaluation.metrics(views[chosen], labels[chosen])["accuracy"]
    return found


def weights_sha256(network):
    """Return the SHA-256 of all weights as float32, in the model's order."""
    return sha256(*(np.ascontiguousarray(w, "<f4") for w in network.get_weights()))


def read(path):
    """Return the finished Run stored in the folder `path`, or None where there is none.

    Raises LabError when its files do not belong together. A folder that another process replaces meanwhile is read anew.
    """
    path = Path(path)
    while True:
        before = _inode(path)
        try:
            run = _read(path)
        except LabError:
            if _inode(path) == before:
                raise
        else:
            if _inode(path) == before:
                return run


def _inode(path):
    with suppress(OSError):
        return path.stat().st_ino


def _read(path):
    if not (path / "run.json").exists():
        return None
    try:
        record = json.loads((path / "run.json").read_text())
        if not isinstance(record, dict):
            raise ValueError("run.json holds no record")
        if sha256(path / "predictions.npz") != record["predictions_sha256"]:
            raise ValueError("predictions.npz has another hash")
        with np.load(path / "predictions.npz") as arrays:
            predictions = dict(arrays)
        return Run(path, record, pd.read_csv(path / "history.csv"), predictions)
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"The run in {relative(path)} is damaged ({error}): "
                       f"git checkout {relative(path)}, or delete the folder to train it again.") from None


def store(trained, path):
    """Write a `Trained` into a folder beside `path`, then put it in its place as a whole; return the Run."""
    fresh, record = beside(path), trained.record
    try:
        with writing(fresh / "predictions.npz") as part:
            np.savez_compressed(part, **trained.predictions)
        record["predictions_sha256"] = sha256(fresh / "predictions.npz")
        record["weights_file_sha256"] = None
        if trained.weights is not None:
            with writing(fresh / "weights.npz") as part:
                np.savez_compressed(part, classes=trained.classes, **{f"{i:03d}": w.astype(np.float16) for i, w in enumerate(trained.weights)})
            record["weights_file_sha256"] = sha256(fresh / "weights.npz")
        write(fresh / "history.csv", trained.history.to_csv(index=False, lineterminator="\n"))
        write(fresh / "run.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
        _put(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return read(path) or Run(path, record, trained.history, trained.predictions)


def _put(fresh, path):
    """Rename the folder `fresh` to `path`, in place of what is there, whoever else does the same; or leave all as it was."""
    while True:
        old = beside(path)
        with suppress(FileNotFoundError):
            os.replace(path, old)
        try:
            os.replace(fresh, path)
        except BaseException as error:
            if old.exists() and not path.exists():
                os.replace(old, path)
            if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        finally:
            shutil.rmtree(old, ignore_errors=True)


def move(run, path):
    """Put a stored run into the folder `path`, in place of what is there, and return it; empty folders go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if run.path.exists() and run.path != path:
        _put(run.path, path)
        with suppress(OSError):  # of the first that is not empty
            for folder in list(run.path.parents)[:4]:
                folder.rmdir()
    return read(path)


class Checkpoints:
    """The state of an unfinished run after its last two epochs, each in one file.

    A file's name ends in the hash of its content, so a damaged one is noticed and set aside.
    state: history (a row an epoch), best (position of the kept epoch), environments (each that trained
    some of the epochs), shared (whether others used the machine, None where that is not known).
    """

    def __init__(self, folder):
        self.folder = folder

    def write(self, variables, state, best_weights):
        """Store all variables (weights, dropout seeds, optimiser), the state and the best weights."""
        arrays = {f"v{i:03d}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
        arrays |= {f"w{i:03d}": weight for i, weight in enumerate(best_weights or [])}
        fresh = beside(self.folder / "new.npz")
        with writing(fresh) as part:
            np.savez(part, state=json.dumps({key: state[key] for key in ("history", "best", "environments", "shared")}), **arrays)
        os.replace(fresh, self.folder / f"{len(state['history']):04d}-{sha256(fresh)[:16]}.npz")
        for old in self._files()[2:]:
            old.unlink(missing_ok=True)

    def read(self, variables):
        """Restore `variables` from the newest sound file; return its state, a new one without a file, and what to say."""
        note = ""
        for path in self._files():
            try:
                if sha256(path)[:16] != path.stem[-16:]:
                    raise ValueError
                with np.load(path) as arrays:
                    stored = dict(arrays)
                state = json.loads(str(stored["state"]))
                state = {key: state[key] for key in ("history", "best", "environments", "shared")}
                values = [stored[f"v{i:03d}"] for i in range(len(variables))]
                if any(value.shape != tuple(variable.shape) for value, variable in zip(values, variables)):
                    raise ValueError
                state["best_weights"] = [stored[key] for key in sorted(stored) if key.startswith("w")]
            except Exception as error:  # whatever a torn file makes of itself
                if out_of_memory(error):
                    raise
                note = f", a damaged checkpoint set aside ({relative(path.with_suffix('.damaged'))})"
                path.rename(path.with_suffix(".damaged"))
                continue
            for variable, value in zip(variables, values):
                variable.assign(value)
            return state, note
        return {"history": [], "best": 0, "environments": [], "shared": None, "best_weights": []}, note

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
    split, values = next((split, record["metrics"][split]) for split in ("validation", "test") if split in record["metrics"])
    return (f"{label(record['model'], record['variant'])} on {record['dataset']}, seed {record['seed']}: "
            f"{record['epochs_run']} epochs in "
            f"{clock(record['seconds']['train'])} on {record['finished_at'][:10]} ({record['environment']['device']}); "
            f"{split} accuracy {values['accuracy']:.1%}")


def git_commit():
    """Return HEAD's hash, with -dirty when tracked files differ from it; None outside git."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None

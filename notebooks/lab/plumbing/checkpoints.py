"""The state of an unfinished run."""

import json
import os
import shutil
import time
from contextlib import suppress

import numpy as np

from .backend import accelerator, keras, out_of_memory
from .files import beside, relative, sha256, writing

SELDOM = 10  # seconds
STATE = ("history", "best", "environments", "shared")  # what a file keeps of a state


class Checkpoints:
    """The last two states of an unfinished run that were `due`, each in one file.

    A file's name ends in the hash of its content, so a damaged one is noticed and set
    aside.
    state: history (a row an epoch), best (position of the kept epoch), environments
        (each that trained some of the epochs), shared (whether others used the machine,
        None where that is not known).
    """

    def __init__(self, folder):
        self.folder, self.written = folder, float("-inf")

    def due(self):
        """Return whether it is time for the next: always, and on a graphics card, where
        an epoch takes seconds, `SELDOM` seconds after the last one.
        """
        return not accelerator() or time.monotonic() - self.written >= SELDOM

    def write(self, variables, state, best_weights):
        """Store all variables (weights, dropout seeds, optimiser), the state and the
        best weights.
        """
        arrays = {
            f"v{i:03d}": keras.ops.convert_to_numpy(variable)
            for i, variable in enumerate(variables)
        }
        arrays |= {f"w{i:03d}": weight for i, weight in enumerate(best_weights or [])}
        fresh = beside(self.folder / "new.npz")
        with writing(fresh) as part:
            np.savez(
                part, state=json.dumps({key: state[key] for key in STATE}), **arrays
            )
        os.replace(
            fresh, self.folder / f"{len(state['history']):04d}-{sha256(fresh)[:16]}.npz"
        )
        for old in self._files()[2:]:
            old.unlink(missing_ok=True)
        self.written = time.monotonic()

    def read(self, variables):
        """Restore `variables` from the newest sound file; return its state, a new one
        without a file, and what to say.
        """
        note = ""
        for path in self._files():
            try:
                if sha256(path)[:16] != path.stem[-16:]:
                    raise ValueError
                with np.load(path) as arrays:
                    stored = dict(arrays)
                state = json.loads(str(stored["state"]))
                state = {key: state[key] for key in STATE}
                values = [stored[f"v{i:03d}"] for i in range(len(variables))]
                if any(
                    value.shape != tuple(variable.shape)
                    for value, variable in zip(values, variables)
                ):
                    raise ValueError
                count = sum(key.startswith("w") for key in stored)
                state["best_weights"] = [stored[f"w{i:03d}"] for i in range(count)]
            except Exception as error:  # whatever a torn file makes of itself
                if out_of_memory(error):
                    raise
                note = (
                    ", a damaged checkpoint set aside"
                    f" ({relative(path.with_suffix('.damaged'))})"
                )
                with suppress(FileNotFoundError):  # another worker was further on
                    path.rename(path.with_suffix(".damaged"))
                continue
            for variable, value in zip(variables, values):
                variable.assign(value)
            return state, note
        return {
            "history": [],
            "best": 0,
            "environments": [],
            "shared": None,
            "best_weights": [],
        }, note

    def clear(self):
        """Delete the checkpoints of a run that is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self):
        return sorted(self.folder.glob("[0-9]*.npz"), reverse=True)

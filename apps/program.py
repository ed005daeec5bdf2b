"""What every program here does at its start and at its end.

It imports nothing that takes long, so that a program is there at once.
"""

import importlib
import os
import signal
import sys

STDERR = os.dup(2)  # libraries redirect the other while they are loaded


def leave(*_):
    """End the program at once, with one line: libraries that are being loaded would
    make other errors of Ctrl-C, and loaded ones take seconds to go.
    """
    os.write(STDERR, b"\nStopped.\n")
    os._exit(130)


def load(name):
    """Import a module that takes seconds; Ctrl-C ends the program meanwhile."""
    before = signal.signal(signal.SIGINT, leave)
    try:
        return importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, before)


def guarded(function, *arguments):
    """Call a program's function. Ctrl-C, and a mistake that a user can mend, end the
    program with one sentence.
    """
    try:
        return function(*arguments)
    except KeyboardInterrupt:
        leave()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "lab":
            sys.exit(
                "The package lab is not found. If this folder was moved or renamed,"
                " delete its folder .venv and run make again."
            )
        if mistake(error):
            sys.exit(f"\n{error}")
        raise


def mistake(error):
    """Return whether a user can mend an error: an OSError or a LabError, which
    `import lab` raises, too.
    """
    named = [kind.__name__ for kind in type(error).__mro__]
    return isinstance(error, OSError) or "LabError" in named

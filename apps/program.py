"""What every program here does at its start and at its end.

It imports nothing that takes long, so that a program is there at once.
"""

import importlib
import os
import signal
import sys

STOPPED = "\nStopped."


def load(name):
    """Import a module that takes seconds. Ctrl-C ends the program at once meanwhile:
    the libraries would turn it into other errors.
    """

    def leave(*_):
        os.write(2, f"{STOPPED}\n".encode())
        os._exit(130)

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
        print(STOPPED, file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from lab import LabError

        if isinstance(error, (LabError, OSError)):
            sys.exit(f"\n{error}")
        raise

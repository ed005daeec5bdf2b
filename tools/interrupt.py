"""Imported first: Ctrl-C ends a command with one line, also while libraries are being
loaded.
"""

import os
import signal
import sys

STDERR = os.dup(2)
MOVED = (
    "The package lab is not found. If this folder was moved or renamed, delete its"
    " folder .venv and run make again."
)
STOPPED = "\nStopped. What was finished is kept: the same command goes on from there."


def leave(*_):
    """Say so and end at once: while they are loaded, libraries would make other errors
    of Ctrl-C, and nobody hears them.
    """
    os.write(STDERR, f"{STOPPED}\n".encode())
    os._exit(130)


def ready():
    """Let Ctrl-C raise KeyboardInterrupt again, once everything is loaded."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hook(kind, error, trace, shown=sys.excepthook):
    """Show a traceback; one line for Ctrl-C, for a mistake in a tagged cell, which
    stops every tool when it imports lab, where lab is not found, and for what lab says.
    """
    if issubclass(kind, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr)
    elif said := mistake(error):
        print(said, file=sys.stderr)
    elif isinstance(error, ModuleNotFoundError) and error.name == "lab":
        print(MOVED, file=sys.stderr)
    elif "LabError" in [base.__name__ for base in kind.__mro__]:
        print(error, file=sys.stderr)
    else:
        shown(kind, error, trace)


def mistake(error):
    """Return what `gather.place` says of an error, None before that is installed."""
    try:
        import gather
    except ImportError:
        return None
    return gather.place(error)


if os.path.dirname(os.path.abspath(sys.argv[0])) == os.path.dirname(
    os.path.abspath(__file__)
):  # run as a command
    sys.excepthook = hook
    signal.signal(signal.SIGINT, leave)

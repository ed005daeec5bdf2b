"""Imported first: Ctrl-C ends a command with one line, also while libraries are being loaded."""
import sys

STOPPED = "\nStopped. What was finished is kept: the same command goes on from there."


def hook(kind, error, trace, shown=sys.excepthook):
    """Show a traceback, and one line for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr)
    else:
        shown(kind, error, trace)


sys.excepthook = hook

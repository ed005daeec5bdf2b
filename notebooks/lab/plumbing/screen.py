"""What the reader sees while something runs."""

import sys


def notebook_display():
    """Return IPython's `display` inside a notebook, else None."""
    ipython = sys.modules.get("IPython")
    inside = ipython and getattr(ipython.get_ipython(), "kernel", None)
    return ipython.display.display if inside else None


class Line:
    """One line that is overwritten while something runs, and stays when it has
    ended.
    """

    def __init__(self):
        self.display = None

    def show(self, text, last=False):
        """Replace the line, in a notebook by its display, elsewhere by a carriage
        return.
        """
        display = notebook_display()
        if not display:
            print(f"\r{text:<110}", end="\n" if last else "", flush=True)
        elif self.display is None:
            self.display = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self.display.update({"text/plain": text}, raw=True)


def clock(seconds):
    """Return seconds as minutes and seconds: 75 -> "1:15"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress(title, history, epochs):
    """Return a line on a training: its next epoch, the last one's losses and
    accuracies, the time gone and left.

    history: a dict for each epoch, as history.csv has them.
    """
    line = f"{title}: epoch {len(history) + 1} of {epochs}"
    if not history:
        return line
    last, elapsed = history[-1], sum(row["seconds"] for row in history)
    line += f"; loss {last['loss']:.3f}, accuracy {last['accuracy']:.1%}"
    if last["validation_loss"] is not None:
        line += f"; validation {last['validation_loss']:.3f}"
        line += f", {last['validation_accuracy']:.1%}"
    left = elapsed / len(history) * (epochs - len(history))
    return f"{line}; {clock(elapsed)} gone, {clock(left)} left"


def finished(label, record):
    """Return a line on a finished run, from its record: how long it was trained, when,
    where and its accuracy.
    """
    measured = record["metrics"]
    split = "validation" if "validation" in measured else "test"
    return (
        f"{label} on {record['dataset']}, seed {record['seed']}:"
        f" {record['epochs_run']} epochs in {clock(record['seconds']['train'])} on"
        f" {record['finished_at'][:10]} ({record['environment']['device']});"
        f" {split} accuracy {measured[split]['accuracy']:.1%}"
    )

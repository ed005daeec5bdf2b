"""Figures of trainings: curves over epochs, and accuracy against time."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import AutoMinorLocator

from ..plumbing.names import MODEL_TITLES
from .base import COLOURS, MARKERS, NARROW, WIDTH, panels


def curves(runs, titles):
    """Loss and accuracy against epochs, the kept epoch marked: side by side for one or
    two runs, else a column a run. Introduced in notebook 02.
    """
    if len(runs) < 3:
        figure, grid = plt.subplots(1, 2 * len(runs), figsize=(WIDTH, 1.9))
        pairs = grid.reshape(-1, 2)
    else:
        figure, grid = plt.subplots(2, len(runs), figsize=(NARROW, 2.5), sharex="col")
        pairs = grid.T
    for pair, run, title in zip(pairs, runs, titles):
        for axes, quantity, factor in zip(pair, ("loss", "accuracy"), (1, 100)):
            epochs = run.history["epoch"]
            axes.plot(
                epochs, factor * run.history[quantity], "-o", ms=2.5, label="training"
            )
            axes.plot(
                epochs,
                factor * run.history[f"validation_{quantity}"],
                "-s",
                ms=2.5,
                label="validation",
            )
            axes.axvline(
                run.record["best_epoch"], color="0.4", ls=":", label="epoch kept"
            )
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.locator_params(axis="y", nbins=4, min_n_ticks=3)
            axes.grid(color="0.92")
        for axes in pair if len(runs) < 3 else pair[:1]:
            axes.set_title(title)
        pair[0].set_ylabel("cross-entropy", fontsize=8)
        pair[1].set_ylabel("accuracy (%)", fontsize=8)
    parts = pairs[0][0].get_legend_handles_labels()
    figure.legend(*parts, loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("epoch", fontsize=9)
    return figure


def history(fitted):
    """Loss and accuracy of training and validation after each epoch, from the history
    that Keras' `fit` returns. Introduced in notebook 03.
    """
    figure, grid = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    for axes, quantity in zip(grid, ("loss", "accuracy")):
        epochs = range(1, len(fitted[quantity]) + 1)
        axes.plot(epochs, fitted[quantity], "-o", ms=3, label="training")
        axes.plot(epochs, fitted[f"val_{quantity}"], "-s", ms=3, label="validation")
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy" if quantity == "loss" else quantity)
        axes.grid(color="0.92")
    grid[1].legend(frameon=False)
    return figure


def histories(studies, legend):
    """Validation accuracy after each epoch, a line a point, the mean of its seeds; a
    panel for each {variant: Seeds}. What failed is named in the legend alone.

    studies: {title: {variant: Seeds}}; legend: what the variants differ in. Introduced
        in notebook 03.
    """
    figure, grid = panels(len(studies), 2.6)
    for axes, (title, points) in zip(grid, studies.items()):
        for marker, (name, runs) in zip(cycle(MARKERS), points.items()):
            if runs.collapsed():
                failed = f"{name.split('-', 1)[1]} (failed)"
                axes.plot([], [], " ", label=failed)
                continue
            mean = 100 * np.mean(
                [run.history["validation_accuracy"] for run in runs], axis=0
            )
            axes.plot(
                runs[0].history["epoch"],
                mean,
                f"-{marker}",
                ms=3,
                label=name.split("-", 1)[1],
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.92")
    grid[0].set_ylabel("validation accuracy (%)")
    grid[-1].legend(frameon=False, title=legend)
    return figure


def turns(points):
    """Training and validation loss after each epoch, mean over seeds, a panel for each
    of {title: runs}.

    A dotted line marks the mean epoch whose weights are kept. Introduced in notebook
    03.
    """
    figure, grid = plt.subplots(
        1, len(points), figsize=(WIDTH, 1.9), sharey=True, squeeze=False
    )
    for axes, (title, runs) in zip(grid[0], points.items()):
        for name, quantity, style in (
            ("training", "loss", "-"),
            ("validation", "validation_loss", "--"),
        ):
            losses = np.array([run.history[quantity] for run in runs])
            (line,) = axes.plot(
                runs[0].history["epoch"], losses.mean(axis=0), style, lw=1.2, label=name
            )
            axes.fill_between(
                runs[0].history["epoch"],
                losses.min(axis=0),
                losses.max(axis=0),
                color=line.get_color(),
                alpha=0.2,
                lw=0,
            )
        axes.axvline(
            np.mean([run.record["best_epoch"] for run in runs]),
            color="0.4",
            ls=":",
            label="epoch kept",
        )
        axes.set_title(title.replace("-", " "))
        axes.set_ylim(0, 0.7)
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_minor_locator(AutoMinorLocator(2))
        axes.grid(color="0.92", which="both")
    grid[0, 0].set_ylabel("cross-entropy (cut at 0.7)")
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(),
        ncols=3,
        loc="outside upper center",
        frameon=False,
    )
    return figure


PUBLISHED = {  # what, accuracy in percent, PFLOP of a training; sources in notebook 04
    "CIFAR-10": [
        ("airbench94, Muon", 94.0, 0.29),
        ("airbench94", 94.0, 0.36),
        ("ResNet-9 (Page)", 94.0, 1.14),
        ("airbench95", 95.0, 1.39),
        ("airbench96, faster", 96.0, 3.1),
        ("airbench96", 96.0, 4.9),
        ("ResNet-18 (airbench)", 96.0, 13.4),
        ("WRN-28-10 (hysts)", 96.0, 315),
    ]
}


def budget(runs_by_model, title):
    """Test accuracy against the operations of a training: our runs, a marker a network,
    and published results on the data set `title`, a number each.

    The axis of accuracy is a logarithm of the errors, so that the best networks lie
    apart. Introduced in notebook 04.
    """
    figure, axes = plt.subplots(figsize=(NARROW, 3.3))
    ticks = [0, 20, 40, 60, 70, 80, 85, 90, 94, 96, 97, 98, 99]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([100 - tick for tick in ticks], ticks)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:g}")
    drawn, errors = [], []
    for marker, colour, (model, runs) in zip(
        cycle(MARKERS), COLOURS, runs_by_model.items()
    ):
        cost = [run.record["pflop"] for run in runs]
        measured = [run.record["metrics"]["test"] for run in runs]
        for metric, ending, fill in (
            ("accuracy", "", "full"),
            ("accuracy_tta", ", views", "none"),
        ):
            if metric not in measured[0]:
                continue
            wrong = [max(100 - 100 * test[metric], 0.1) for test in measured]
            style = {"ms": 5, "fillstyle": fill, "color": colour, "ls": ""}
            label = MODEL_TITLES.get(model, model) + ending
            drawn += axes.plot(cost, wrong, marker=marker, label=label, **style)
            errors += wrong
    places = {"handles": drawn, "frameon": False, "loc": "upper left"}
    own = axes.legend(**places, bbox_to_anchor=(0, -0.26), title="this repository")
    numbered = []
    for i, (what, accuracy, pflop) in enumerate(PUBLISHED.get(title, []), start=1):
        place = pflop, 100 - accuracy
        axes.plot(*place, "x", ms=4, color="0.3")
        line = {"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkA": 0}
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "0.3", "lw": 0.6}
        aside = (6, -16) if i % 2 else (5, 11)  # neighbours are told apart
        far = {"xytext": aside, "textcoords": "offset points", "bbox": box}
        axes.annotate(str(i), place, **far, fontsize=8, ha="center", arrowprops=line)
        label = f"{what}: {accuracy:.1f} %, {pflop:g} PFLOP"
        digit = {"marker": f"${i}$", "ls": "", "color": "0.3", "mew": 0}
        numbered += axes.plot([], [], **digit, label=label)
        errors.append(100 - accuracy)
    if numbered:
        places |= {"handles": numbered, "loc": "upper right", "title": "published"}
        axes.legend(**places, bbox_to_anchor=(1, -0.26), handletextpad=0.1)
        axes.add_artist(own)
    axes.set_ylim(1.15 * max(errors), 0.65 * min(errors))
    axes.set_xlabel("operations of one training (PFLOP)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(color="0.92")
    return figure

"""Figures of answers: matrices, examples, errors, and how sure they are."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np

from ..taught import confident_errors, largest_confusions
from .base import (
    COLOURS,
    COUNTED,
    HEIGHT,
    MARKERS,
    NARROW,
    WIDTH,
    beside,
    key,
    labelled,
    name_classes,
    panels,
    picture,
    titled,
)
from .base import labels as names

FEW = 20  # images in a bin, below which its accuracy says little


def confusion(matrix, classes, title):
    """Counts in the cells, for `COUNTED` classes at most. Errors are coloured by their
    share of the true class, from 0 to the largest one; the diagonal is grey. Introduced
    in notebook 02.
    """
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    errors = np.where(right, np.nan, shares)
    size = min(WIDTH, 1.6 + 0.2 * len(classes))
    figure, axes = plt.subplots(figsize=(size, 0.8 * size))
    colours = plt.get_cmap("OrRd").with_extremes(bad="0.88")
    top = max(1, np.nanmax(errors))
    shown = axes.imshow(errors, cmap=colours, vmin=0, vmax=top)
    letters = min(8, 17.5 * size / len(classes))  # three digits fill a field
    counted = matrix if len(classes) <= COUNTED else np.empty((0, 0))
    for (row, column), count in np.ndenumerate(counted):
        on_dark = not right[row, column] and errors[row, column] > 0.6 * top
        colour = "white" if on_dark else "0.55" if count == 0 else "black"
        weight = "bold" if right[row, column] else "normal"
        axes.text(
            column,
            row,
            count,
            ha="center",
            va="center",
            color=colour,
            fontsize=letters,
            fontweight=weight,
        )
    bar = figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("errors (% of the true class)")
    bar.outline.set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    named = name_classes(axes.xaxis, classes, 0.6 * size, **slanted)
    name_classes(axes.yaxis, classes, 0.6 * size)
    if not named:
        axes.set_xlabel("predicted class (number)")
        axes.set_ylabel("true class (number)")
    edges = np.arange(len(classes) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", lw=min(0.8, 16 / len(classes)))
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return figure


def confusion_caption(matrix, classes, title):
    """Return the caption of `confusion`, which names the most frequent error."""
    caption = (
        f"{title}: counts of test images. Grey: right answers. Colour of an error: its"
        " share of the true class."
    )
    for true, answer, count in largest_confusions(matrix, classes, n=1):
        caption += f" Most often the network takes {true} for {answer}: {count} times."
    return caption + key(classes)


def examples(dataset, run, positions, columns=6):
    """Test images: above each its label, the answer (→) and its probability."""
    images, labels = dataset.split("test")
    probabilities, _ = run.test()
    return labelled(
        [
            (
                images[i],
                _both(dataset, labels[i], probabilities[i].argmax())
                + f"\n{float(probabilities[i].max()):.0%}",
            )
            for i in positions
        ],
        columns,
    )


def mended(dataset, run, positions):
    """Test images: above each its label, the answer to the image alone (→), and the
    probability that the views give to the label.
    """
    images, labels = dataset.split("test")
    alone, views = run.test()[0], run.predictions["test_probabilities_tta"]
    return labelled(
        [
            (
                images[i],
                _both(dataset, labels[i], alone[i].argmax())
                + f"\nviews: {float(views[i, labels[i]]):.0%}",
            )
            for i in positions
        ]
    )


def class_scores(scores):
    """F1 of each class (rows of `scores`), a marker a model (columns)."""
    scores = scores.set_axis(names(scores.index))
    scores = scores.loc[scores.mean(axis=1).sort_values().index]
    height = min(0.16 * len(scores), HEIGHT - 1)
    figure, axes = plt.subplots(figsize=(0.6 * NARROW, 1 + height))
    for marker, (title, column) in zip(cycle(MARKERS), scores.items()):
        axes.plot(column, range(len(scores)), marker, ms=5, label=title)
    if not name_classes(axes.yaxis, scores.index, height):
        axes.set_ylabel("place of the class in this order")
    axes.set_xlabel("F1 on the test images")
    axes.grid(color="0.92")
    axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.4, 1), frameon=False)
    return figure


def reliability(tables):
    """Accuracy against confidence, a column a data set, a line before and after
    temperature scaling; below it the number of images in each bin.

    tables: {title: {label: a table of `taught.reliability`}}. Bins of fewer than `FEW`
        images are drawn hollow.
    """
    figure, grid = plt.subplots(
        2,
        len(tables),
        figsize=(NARROW if len(tables) > 1 else 0.6 * NARROW, 2.6),
        height_ratios=(2, 1),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for axes, counts, (title, lines) in zip(*grid, tables.items()):
        axes.plot([0, 100], [0, 100], color="0.7", lw=1)
        for marker, colour, (label, table) in zip("os", COLOURS, lines.items()):
            x, y = 100 * table["confidence"], 100 * table["accuracy"]
            few = table["images"] < FEW
            style = {"color": colour, "marker": marker, "ms": 4}
            axes.plot(x, y, lw=1, label=label, **style)
            axes.plot(x[few], y[few], ls="", mfc="white", **style)
            counts.plot(x, table["images"], lw=1, **style)
        axes.set_title(title)
        axes.grid(color="0.92")
        counts.set_yscale("log")
        counts.minorticks_off()
        counts.set_xlabel("confidence (%)")
        counts.grid(color="0.92")
    grid[0, 0].set_ylabel("accuracy (%)")
    grid[1, 0].set_ylabel("images")
    grid[0, 0].legend(frameon=False)
    return figure


def coverage(lines):
    """Accuracy against the share of images answered, a panel a data set, a line a
    network: {title: {label: (share, accuracy)}}.
    """
    figure, grid = panels(len(lines), 1.8, width=NARROW)
    for axes, (title, curves) in zip(grid, lines.items()):
        styles = cycle(("-", "--", "-.", ":"))
        for (label, (share, accuracy)), style in zip(curves.items(), styles):
            axes.plot(
                100 * share[len(share) // 50 :],
                100 * accuracy[len(share) // 50 :],
                style,
                label=label,
            )
        axes.set_title(title)
        axes.grid(color="0.92")
    figure.supxlabel("images answered (%)", fontsize=9)
    grid[0].set_ylabel("accuracy (%)")
    handles, labels = max(
        grid, key=lambda axes: len(axes.lines)
    ).get_legend_handles_labels()
    place = {"ncols": 2, "loc": "outside upper center", "frameon": False}
    figure.legend(handles, labels, **place)
    return figure


def neighbours(dataset, run, positions, places):
    """Test images, left, and beside each the training images at `places` (n, k), with
    their classes.
    """
    (images, labels), (training, classes) = map(dataset.split, ("test", "training"))
    answers, rows = run.test()[0].argmax(axis=1), []
    for i, near in zip(positions, places):
        row = [(images[i], _both(dataset, labels[i], answers[i]))]
        row += [(training[j], dataset.classes[classes[j]]) for j in near]
        rows.append(row)
    return beside(rows, 1 + places.shape[1])


def doubted(dataset, run, places, others):
    """Test images with their label and the class that they rather show, the first that
    are none of the 6 surest errors; and a caption.
    """
    count = 6
    (images, labels), (p, _) = dataset.split("test"), run.test()
    known, rows = confident_errors(p, labels, count), []
    for i, other in zip(places, others):
        if i not in known and len(rows) < count:
            rows.append((images[i], _both(dataset, labels[i], other)))
    caption = (
        f"{dataset.title}: {len(places)} of {len(labels):,} test labels are doubted. Of"
        f" the {len(known)} most confident errors, {np.isin(known, places).sum()} are"
        " among them. These are the first of the others."
    )
    return beside([rows], count), caption


def _both(dataset, label, answer):
    return f"{dataset.classes[label]}\n→ {dataset.classes[answer]}"


def heat(dataset, run, positions, maps, columns=3):
    """Test images, `columns` in a row, each beside itself with a map (height, width, 0
    to 1) laid over, yellow where it is high; above them label, answer (→), probability.
    """
    (images, labels), rows = dataset.split("test"), -(-len(positions) // columns)
    probabilities, _ = run.test()
    size, titles = (NARROW, rows * (NARROW / (2 * columns) + 0.32)), []
    figure, grid = plt.subplots(rows, 2 * columns, figsize=size, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for place, (i, values) in enumerate(zip(positions, maps)):
        row, column = divmod(place, columns)
        both = slice(2 * column, 2 * column + 2)
        above = figure.add_subplot(grid[0, 0].get_gridspec()[row, both])
        above.axis("off")
        said = _both(dataset, labels[i], probabilities[i].argmax())
        titles.append((above, f"{said} {float(probabilities[i].max()):.0%}"))
        left, right = grid[row, both]
        picture(left, images[i])
        picture(right, images[i])
        right.imshow(values, cmap="cividis", alpha=0.6, vmin=0, vmax=1)
    titled(titles)
    return figure

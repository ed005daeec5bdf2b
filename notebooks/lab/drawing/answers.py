"""Figures of answers: matrices, examples, errors, and how sure they are."""

import matplotlib.pyplot as plt
import numpy as np

from .base import COLOURS, WIDTH, labelled, panels, picture


def confusion(matrix, classes, title):
    """Counts in the cells. Errors are coloured by their share of the true class, from 0
    to the largest one; the diagonal is grey. Introduced in notebook 02.
    """
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    errors = np.where(right, np.nan, shares)
    size = min(WIDTH, 2.6 + 0.4 * len(classes))
    figure, axes = plt.subplots(figsize=(size, 0.8 * size))
    colours = plt.get_cmap("OrRd").with_extremes(bad="0.88")
    top = max(1, np.nanmax(errors))
    shown = axes.imshow(errors, cmap=colours, vmin=0, vmax=top)
    letters = min(8, 100 / len(classes))
    for (row, column), count in np.ndenumerate(matrix):
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
    bar.set_label("errors: share of the true class (%)")
    bar.outline.set_visible(False)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    plt.setp(axes.get_xticklabels(), rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(labelsize=min(8, 160 / len(classes)))
    edges = np.arange(len(classes) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", lw=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def examples(dataset, run, chosen, columns=6):
    """Test images with the true class and what the model says, with its probability."""
    images, labels = dataset.split("test")
    probabilities, _ = run.test()
    return labelled(
        [
            (
                images[i],
                (
                    f"is: {dataset.classes[labels[i]]}\nsaid:"
                    f" {dataset.classes[probabilities[i].argmax()]}\nat"
                    f" {float(probabilities[i].max()):.0%}"
                ),
            )
            for i in chosen
        ],
        columns,
    )


def mended(dataset, run, chosen, columns=6):
    """Test images with the true class, what the network said to the image alone, and
    the six views' probability of the class.
    """
    images, labels = dataset.split("test")
    alone, views = run.test()[0], run.predictions["test_probabilities_tta"]
    return labelled(
        [
            (
                images[i],
                (
                    f"is: {dataset.classes[labels[i]]}\nalone:"
                    f" {dataset.classes[alone[i].argmax()]}\nsix views:"
                    f" {float(views[i, labels[i]]):.0%}"
                ),
            )
            for i in chosen
        ],
        columns,
    )


def class_scores(scores):
    """F1 of each class (rows of `scores`), a marker a model (columns)."""
    scores = scores.loc[scores.mean(axis=1).sort_values().index]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.24 * len(scores)))
    for marker, (title, column) in zip("os^D", scores.items()):
        axes.plot(column, range(len(scores)), marker, ms=5, label=title)
    axes.set_yticks(range(len(scores)), scores.index)
    axes.set_xlabel("F1 on the test images")
    axes.grid(color="0.92")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def reliability(tables):
    """Accuracy against confidence, a panel a data set, a line before and after
    temperature scaling.

    tables: {title: {label: a table of `calibration.reliability`}}; the size of a dot is
        its share of the images.
    """
    figure, grid = panels(len(tables), 2.4)
    for axes, (title, lines) in zip(grid, tables.items()):
        axes.plot([0, 100], [0, 100], color="0.7", lw=1)
        for (label, table), colour in zip(lines.items(), COLOURS):
            axes.plot(
                100 * table["confidence"],
                100 * table["accuracy"],
                color=colour,
                lw=1,
                label=label,
            )
            axes.scatter(
                100 * table["confidence"],
                100 * table["accuracy"],
                s=4 + 120 * table["images"] / table["images"].sum(),
                color=colour,
            )
        axes.set_title(title)
        axes.set_xlabel("confidence (%)")
        axes.grid(color="0.92")
    grid[0].set_ylabel("accuracy (%)")
    grid[0].legend(frameon=False)
    return figure


def coverage(lines):
    """Accuracy against the share of images answered, a panel a data set, a line a
    network: {title: {label: (share, accuracy)}}.
    """
    figure, grid = panels(len(lines), 2.2)
    for axes, (title, curves) in zip(grid, lines.items()):
        for (label, (share, accuracy)), style in zip(
            curves.items(), ("-", "--", "-.", ":")
        ):
            axes.plot(
                100 * share[len(share) // 50 :],
                100 * accuracy[len(share) // 50 :],
                style,
                label=label,
            )
        axes.set_title(title)
        axes.set_xlabel("images answered (%)")
        axes.grid(color="0.92")
    grid[0].set_ylabel("accuracy on these (%)")
    handles, labels = max(
        grid, key=lambda axes: len(axes.lines)
    ).get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center", frameon=False)
    return figure


def heat(images, maps, titles, columns=6):
    """Images above themselves with a map (height, width, 0 to 1) laid over: yellow
    where it is high.
    """
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(
        2 * rows, columns, figsize=(WIDTH, 2.5 * rows), squeeze=False
    )
    for axes in grid.ravel():
        axes.axis("off")
    for i, (image, one, title) in enumerate(zip(images, maps, titles)):
        upper, lower = (
            grid[2 * (i // columns), i % columns],
            grid[2 * (i // columns) + 1, i % columns],
        )
        picture(upper, image, title)
        picture(lower, image)
        lower.imshow(
            one, cmap="cividis", alpha=0.6, vmin=0, vmax=1, interpolation="bilinear"
        )
    return figure

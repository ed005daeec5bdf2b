"""Figures of data sets."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from sklearn.decomposition import PCA

from .base import (
    COLOURS,
    COUNTED,
    NARROW,
    WIDTH,
    name_classes,
    pairs,
    panels,
    picture,
    titled,
)
from .base import labels as labels_of

AVERAGED = 80  # classes whose mean image is drawn, at most
CHANNELS = (  # name, colour, dashes, width
    ("red", COLOURS[3], "-", 2.2),
    ("green", "#00402b", "--", 1),
    ("blue", COLOURS[9], "-", 1.2),
)


def sample_grid(dataset, columns=12):
    """A row of training images a class, drawn at random. Introduced in notebook 01."""
    images, labels = dataset.split("training")
    rng = np.random.default_rng(0)
    rows = min(len(dataset.classes), 17)  # they fit a page
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(min(NARROW, 1.1 + 0.36 * columns), 0.36 * rows),
        squeeze=False,
    )
    for label, line in enumerate(grid):
        positions = rng.permutation(np.flatnonzero(labels == label))[:columns]
        for axes in line[len(positions) :]:
            axes.axis("off")
        for axes, i in zip(line, positions):
            picture(axes, images[i])
        line[0].set_ylabel(
            labels_of(dataset.classes)[label],
            rotation=0,
            ha="right",
            va="center",
            fontsize=8,
        )
    return figure


def class_balance(datasets):
    """The number of images of each class in each split, a panel a data set, with that
    of the training images as text. Introduced in notebook 01.
    """
    figure, grid = panels(len(datasets), 2.6, datasets, 0.17)
    for axes, dataset in zip(grid, datasets):
        bottom, learnt = 0, []
        for name, split in dataset.splits.items():
            counts = np.bincount(dataset.labels[split], minlength=len(dataset.classes))
            bars = axes.barh(np.arange(len(counts)), counts, left=bottom, label=name)
            bottom = bottom + counts
            learnt = counts if name == "training" else learnt
        axes.bar_label(bars, [f"{n:,}" for n in learnt], padding=2, fontsize=7.5)
        axes.margins(x=0.24)
        inches = 0.7 * figure.get_figheight() / axes.get_gridspec().nrows
        name_classes(axes.yaxis, dataset.classes, inches)
        axes.invert_yaxis()
        axes.set_title(dataset.title)
        axes.set_xlabel("images")
        axes.locator_params(axis="x", nbins=4)
    figure.legend(
        *grid[0].get_legend_handles_labels(),
        ncols=3,
        loc="outside upper center",
        frameon=False,
    )
    return figure


def pixel_histogram(datasets):
    """How often each pixel value occurs in the training images, a line a channel.

    The lines differ in lightness and dashes, not in hue alone. Introduced in notebook
    01.
    """
    figure, grid = panels(len(datasets), 2.1)
    for axes, dataset in zip(grid, datasets):
        images, _ = dataset.split("training")
        channels = dataset.shape[-1]
        for c in range(channels):
            name, colour, dashes, width = CHANNELS[c]
            counts = np.bincount(images[..., c].ravel(), minlength=256)
            axes.plot(
                100 * counts / counts.sum(),
                dashes,
                color=colour if channels > 1 else "0.3",
                lw=width if channels > 1 else 1,
                label=name,
            )
        if channels > 1:
            axes.legend(frameon=False, handlelength=3)
        axes.set_yscale("log")
        axes.set_ylim(0.05, 100)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.set_title(dataset.title)
        axes.set_xlabel("pixel value")
    grid[0].set_ylabel("share of pixels (%)")
    return figure


def mean_images(datasets):
    """The mean training image of each class, up to ten a row, from the top one data set
    after the other.

    Introduced in notebook 01.
    """
    columns = min(max(len(dataset.classes) for dataset in datasets), 10)
    lines = [
        (dataset, labels)
        for dataset in datasets
        for labels in np.array_split(
            np.arange(min(len(dataset.classes), AVERAGED)),
            -(-min(len(dataset.classes), AVERAGED) // columns),
        )
    ]
    figure, grid = plt.subplots(
        len(lines), columns, figsize=(WIDTH, 0.86 * len(lines)), squeeze=False
    )
    titles = []
    for line, (dataset, classes) in zip(grid, lines):
        images, labels = dataset.split("training")
        for axes in line[len(classes) :]:
            axes.axis("off")
        for label, axes in zip(classes, line):
            mean = images[labels == label].mean(axis=0).astype(np.uint8)
            picture(axes, mean)
            titles.append((axes, dataset.classes[label]))
        line[0].set_ylabel(dataset.title, fontsize=8)
    titled(titles)
    return figure


def projection(datasets):
    """The first two principal components of up to 2,000 training images, a large mark
    at the mean of each class.

    Source: scikit-learn's PCA on the pixels. Introduced in notebook 01.
    """
    figure, grid = panels(len(datasets), 2.9, datasets, 0.08, width=NARROW)
    for axes, dataset in zip(grid, datasets):
        images, labels = dataset.split("training")
        positions = np.random.default_rng(0).permutation(len(images))[:2000]
        places = PCA(2, svd_solver="randomized", random_state=0).fit_transform(
            images[positions].reshape(len(positions), -1) / 255
        )
        mine = labels[positions]
        dots = [COLOURS[label % len(COLOURS)] for label in mine]
        axes.scatter(*places.T, c=dots, s=2, alpha=0.5, linewidths=0)
        for label, name in enumerate(labels_of(dataset.classes)):
            axes.plot(
                *places[mine == label].mean(axis=0),
                "os^DvPX*<>"[(label + label // len(COLOURS)) % 10],
                ms=4.5,
                zorder=3,
                mec="black",
                mew=0.6,
                color=COLOURS[label % len(COLOURS)],
                label=name,
            )
        if len(dataset.classes) > COUNTED:
            axes.set_title(f"{dataset.title}: {len(dataset.classes)} classes")
            axes.set_xlabel("first component")
            continue
        axes.legend(
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.26),
            fontsize=8,
            frameon=False,
            columnspacing=0.8,
            handletextpad=0.1,
        )
        axes.set_title(dataset.title)
        axes.set_xlabel("first component")
    grid[0].set_ylabel("second component")
    return figure


def near_pairs(dataset, near):
    """Some pairs of `methods.audit.near_copies`, the test image above, from the highest
    correlation to the lowest.
    """
    tests, labels = dataset.split("test")
    trainings, their_labels = dataset.split("training")
    rows = []
    for place in np.unique(np.linspace(0, len(near) - 1, 4).astype(int)):
        i, j, correlation = near.iloc[place]
        i, j = int(i), int(j)
        above = f"test: {dataset.classes[labels[i]]}"
        below = f"training: {dataset.classes[their_labels[j]]}"
        below += f"\ncorrelation {correlation:.3f}"
        rows.append((tests[i], above, trainings[j], below))
    return pairs(rows, columns=4)


def votes(shares, rows, columns):
    """A table of shares (0 to 1) as a picture: a row for each label, a column for each
    vote.
    """
    figure, axes = plt.subplots(figsize=(0.85 * WIDTH, 2.7))
    sns.heatmap(
        100 * shares,
        annot=True,
        fmt=".0f",
        cmap="Blues",
        vmin=0,
        vmax=100,
        ax=axes,
        annot_kws={"fontsize": 8},
        linewidths=0.4,
        xticklabels=columns,
        yticklabels=rows,
        cbar_kws={"label": "share of votes (%)"},
    )
    axes.set_xlabel("votes of the ten annotators")
    axes.set_ylabel("label of FER2013")
    axes.tick_params(length=0)
    plt.setp(axes.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    plt.setp(axes.get_yticklabels(), rotation=0)
    return figure


def augmented(dataset, augment):
    """One training image a row, first as it is, then as `augment(images, rng)` changes
    it. Introduced in notebook 04.
    """
    images, labels = dataset.split("training")
    rng, columns = np.random.default_rng(0), 10
    rows = [
        np.flatnonzero(labels == label)[0]
        for label in (0, len(dataset.classes) // 2, len(dataset.classes) - 1)
    ]
    figure, grid = plt.subplots(
        len(rows),
        columns + 1,
        figsize=(WIDTH, 0.66 * len(rows) + 0.2),
        width_ratios=[1, 0.3, *[1] * (columns - 1)],
    )
    for line, i in zip(grid, rows):
        changed = augment(np.repeat(images[i : i + 1], columns - 1, axis=0), rng)
        line[1].axis("off")
        for axes, image in zip([line[0], *line[2:]], [images[i], *changed]):
            picture(axes, image)
    grid[0, 0].set_title("original", fontsize=8)
    grid[0, 2].set_title("changed at random", fontsize=8, loc="left")
    return figure

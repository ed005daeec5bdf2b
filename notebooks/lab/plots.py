"""Figures, drawn at the size and in the font size at which the report prints them."""
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from . import evaluation
from .screen import notebook_display

WIDTH = 6.3  # inches: the width of the report's text
COLOURS = sns.color_palette("colorblind").as_hex()
MODEL_TITLES = {"dense": "Dense", "one_conv": "One convolution", "two_conv": "Two convolutions",
                "improved": "Improved CNN"}

plt.rcParams.update({
    "figure.dpi": 100, "savefig.dpi": 150, "figure.constrained_layout.use": True,
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS), "pdf.fonttype": 42, "image.cmap": "gray",
})


def show(figure):
    """Show a figure in a notebook, once, and release its memory."""
    display = notebook_display()
    if display:
        display(figure)
    plt.close(figure)


def picture(axes, image, title=None):
    """Draw one image (height, width, channels), grey or RGB, without axes."""
    axes.imshow(image.squeeze(), vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=7)


def sample_grid(dataset, columns=12, seed=0):
    """A row of training images a class, drawn at random. Introduced in notebook 01."""
    images, labels = dataset.split("training")
    rng = np.random.default_rng(seed)
    rows = len(dataset.classes)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, 0.46 * rows))
    for label, line in enumerate(grid):
        for axes, i in zip(line, rng.choice(np.flatnonzero(labels == label), columns, replace=False)):
            picture(axes, images[i])
        line[0].set_ylabel(dataset.classes[label], rotation=0, ha="right", va="center", fontsize=8)
    return figure


def class_balance(dataset):
    """The number of images of each class in each split, side by side. Introduced in notebook 01."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.3))
    positions = np.arange(len(dataset.classes))
    for k, (name, chosen) in enumerate(dataset.splits.items()):
        counts = np.bincount(dataset.labels[chosen], minlength=len(positions))
        axes.bar(positions + (k - 1) * 0.28, counts, width=0.26, label=name)
    axes.set_xticks(positions, dataset.classes, rotation=30, ha="right")
    axes.set_ylabel("images")
    axes.legend(title="split", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def pixel_histogram(dataset):
    """How often each grey level occurs in the training images. Introduced in notebook 01."""
    images, _ = dataset.split("training")
    shares = np.bincount(images.ravel(), minlength=256) / images.size
    figure, axes = plt.subplots(figsize=(WIDTH, 2.1))
    axes.bar(np.arange(256), 100 * shares, width=1.0)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("pixel value (0 black, 255 white)")
    axes.set_ylabel("share of all pixels (%)")
    return figure


def curves(runs):
    """Loss and accuracy against epochs, a column a run, the kept epoch marked. Introduced in notebook 02."""
    figure, grid = plt.subplots(2, len(runs), figsize=(WIDTH if len(runs) > 1 else 0.7 * WIDTH, 3.8),
                                sharex="col", sharey="row", squeeze=False)
    for column, run in zip(grid.T, runs):
        for axes, quantity, factor in zip(column, ("loss", "accuracy"), (1, 100)):
            epochs = run.history["epoch"]
            axes.plot(epochs, factor * run.history[quantity], "-o", ms=2.5, label="training")
            axes.plot(epochs, factor * run.history[f"validation_{quantity}"], "-s", ms=2.5, label="validation")
            axes.axvline(run.record["best_epoch"], color="0.4", ls=":", label="epoch kept")
            axes.xaxis.get_major_locator().set_params(integer=True)
        column[0].set_title(f"{MODEL_TITLES[run.record['model']]}, seed {run.record['seed']}")
        column[1].set_xlabel("epoch")
    grid[0, 0].set_ylabel("cross-entropy")
    grid[1, 0].set_ylabel("accuracy (%)")
    grid[0, -1].legend()
    return figure


def confusion(matrix, classes, title):
    """Counts in the cells, colour by the share of the true class. Introduced in notebook 02."""
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = min(WIDTH, 2.2 + 0.4 * len(classes))
    figure, axes = plt.subplots(figsize=(size, 0.8 * size))
    sns.heatmap(shares, annot=matrix, fmt="d", cmap="Blues", vmin=0, vmax=100, ax=axes, square=True,
                annot_kws={"fontsize": 7}, linewidths=0.4, xticklabels=classes, yticklabels=classes,
                cbar_kws={"label": "share of the true class (%)", "shrink": 0.8})
    axes.set_title(title)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    plt.setp(axes.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    plt.setp(axes.get_yticklabels(), rotation=0)
    return figure


def examples(dataset, run, chosen, columns=6):
    """Test images with the true class and what the model says, with its probability."""
    images, labels = dataset.split("test")
    probabilities, _ = run.test()
    rows = max(1, -(-len(chosen) // columns))
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, 1.42 * rows), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, i in zip(grid.ravel(), chosen):
        axes.axis("on")
        said = probabilities[i].argmax()
        picture(axes, images[i], f"is: {dataset.classes[labels[i]]}\nsaid: {dataset.classes[said]}\n"
                                 f"at {float(probabilities[i].max()):.0%}")
    return figure


def comparison(runs_by_model, dataset):
    """Test accuracy of each model with its 95 % Wilson interval. Introduced in notebook 05."""
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH, 0.5 + 0.42 * len(runs_by_model)))
    for row, (model, runs) in enumerate(runs_by_model.items()):
        accuracy = np.mean([run.record["metrics"]["test"]["accuracy"] for run in runs])
        low, high = evaluation.wilson(accuracy, len(runs[0].predictions["test_labels"]))
        axes.errorbar(100 * accuracy, row, xerr=[[100 * (accuracy - low)], [100 * (high - accuracy)]],
                      fmt="o", capsize=3, color=COLOURS[0])
        axes.annotate(f"{100 * accuracy:.1f}", (100 * accuracy, row), (0, 6), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(runs_by_model)), [MODEL_TITLES[model] for model in runs_by_model])
    axes.set_ylim(len(runs_by_model) - 0.5, -0.7)
    axes.set_xlabel(f"test accuracy on {dataset.title} (%), with its 95 % interval")
    axes.grid(axis="x", color="0.9")
    return figure


def class_scores(scores):
    """F1 of each class (rows of `scores`), a marker a model (columns). Introduced in notebook 05."""
    scores = scores.loc[scores.mean(axis=1).sort_values().index]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.24 * len(scores)))
    for marker, (title, column) in zip("os^D", scores.items()):
        axes.plot(column, range(len(scores)), marker, ms=5, label=title)
    axes.set_yticks(range(len(scores)), scores.index)
    axes.set_xlabel("F1 on the test images")
    axes.grid(color="0.92")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def augmented(dataset, augment, columns=10, seed=0):
    """One training image a row, first as it is, then as `augment(images, rng)` changes it."""
    images, labels = dataset.split("training")
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == label)[0] for label in (0, len(dataset.classes) // 2, len(dataset.classes) - 1)]
    figure, grid = plt.subplots(len(rows), columns, figsize=(WIDTH, 0.68 * len(rows) + 0.2))
    for line, i in zip(grid, rows):
        changed = augment(np.repeat(images[i : i + 1], columns - 1, axis=0), rng)
        for axes, image in zip(line, [images[i], *changed]):
            picture(axes, image)
    grid[0, 0].set_title("original", fontsize=8)
    grid[0, 1].set_title("augmented", fontsize=8)
    return figure

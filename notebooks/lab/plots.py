"""Figures, drawn at the size and in the font size at which the report prints them."""
import warnings

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from scipy.stats import t
from sklearn.decomposition import PCA

from . import evaluation
from .screen import notebook_display

WIDTH = 6.3  # inches: the width of the report's text
LETTER = 0.05  # inches: the mean width of a letter of 7 points, or a little less
COLOURS = sns.color_palette("colorblind").as_hex()
MODEL_TITLES = {"dense": "Dense", "one_conv": "One convolution", "two_conv": "Two convolutions",
                "improved": "Improved CNN"}

warnings.filterwarnings("ignore", "Glyph .* missing")  # a class name of a reader's folder may hold anything
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
    axes.imshow(image.squeeze(axis=-1) if image.shape[-1] == 1 else image, vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if title:  # cut where it would run into the next one
        room = int(axes.figure.get_figwidth() / axes.get_gridspec().ncols / LETTER)
        lines = [line if len(line) <= room else line[: room - 1] + "…" for line in title.split("\n")]
        axes.set_title("\n".join(lines), fontsize=7)


def photo(image):
    """A photo at the width of the page."""
    figure, axes = plt.subplots(figsize=(WIDTH, WIDTH * image.shape[0] / image.shape[1]))
    picture(axes, image)
    return figure


def panels(count, height, datasets=(), class_height=0):
    """Return a figure as wide as the text and `count` axes side by side, fewer a row where they are many.

    height: inches of a row; `class_height` more for each class beyond ten that one of `datasets` has.
    """
    height += class_height * max([0, *(len(dataset.classes) - 10 for dataset in datasets)])
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH if count > 1 else 0.6 * WIDTH, rows * height), squeeze=False)
    for axes in grid.ravel()[count:]:
        axes.set_visible(False)
    return figure, grid.ravel()[:count]


def sample_grid(dataset, columns=12, seed=0):
    """A row of training images a class, drawn at random. Introduced in notebook 01."""
    images, labels = dataset.split("training")
    rng = np.random.default_rng(seed)
    rows = min(len(dataset.classes), 20)
    figure, grid = plt.subplots(rows, columns, figsize=(min(WIDTH, 1.1 + 0.46 * columns), 0.46 * rows), squeeze=False)
    for label, line in enumerate(grid):
        chosen = rng.permutation(np.flatnonzero(labels == label))[:columns]
        for axes in line[len(chosen):]:
            axes.axis("off")
        for axes, i in zip(line, chosen):
            picture(axes, images[i])
        line[0].set_ylabel(dataset.classes[label], rotation=0, ha="right", va="center", fontsize=8)
    return figure


def class_balance(datasets):
    """The number of images of each class in each split, a panel a data set. Introduced in notebook 01."""
    figure, grid = panels(len(datasets), 2.6, datasets, 0.17)
    for axes, dataset in zip(grid, datasets):
        bottom = 0
        for name, chosen in dataset.splits.items():
            counts = np.bincount(dataset.labels[chosen], minlength=len(dataset.classes))
            axes.barh(np.arange(len(counts)), counts, left=bottom, label=name, edgecolor="white", linewidth=0.5)
            bottom = bottom + counts
        axes.set_yticks(np.arange(len(dataset.classes)), dataset.classes)
        axes.invert_yaxis()
        axes.set_title(dataset.title)
        axes.set_xlabel("images")
        axes.locator_params(axis="x", nbins=4)
    figure.legend(*grid[0].get_legend_handles_labels(), ncols=3, loc="outside upper center", frameon=False)
    return figure


def pixel_histogram(datasets):
    """How often each pixel value occurs in the training images, a line a channel. Introduced in notebook 01."""
    figure, grid = panels(len(datasets), 2.1)
    for axes, dataset in zip(grid, datasets):
        images, _ = dataset.split("training")
        channels = dataset.shape[-1]
        for c, (name, colour) in enumerate(zip(("red", "green", "blue"), (COLOURS[3], COLOURS[2], COLOURS[0]))):
            if c < channels:
                shares = np.bincount(images[..., c].ravel(), minlength=256) / images[..., c].size
                axes.plot(100 * shares, color=colour if channels > 1 else "0.3", lw=1, label=name)
        if channels > 1:
            axes.legend(frameon=False)
        axes.set_yscale("log")
        axes.set_ylim(0.05, 100)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.set_title(dataset.title)
        axes.set_xlabel("pixel value")
    grid[0].set_ylabel("share of pixels (%)")
    return figure


def mean_images(datasets):
    """The mean training image of each class, up to ten a row, from the top one data set after the other.

    Introduced in notebook 01.
    """
    columns = min(max(len(dataset.classes) for dataset in datasets), 10)
    lines = [(dataset, labels) for dataset in datasets for labels in np.array_split(
        np.arange(len(dataset.classes)), -(-len(dataset.classes) // columns))]
    figure, grid = plt.subplots(len(lines), columns, figsize=(WIDTH, 0.86 * len(lines)), squeeze=False)
    for line, (dataset, chosen) in zip(grid, lines):
        images, labels = dataset.split("training")
        for axes in line[len(chosen):]:
            axes.axis("off")
        for label, axes in zip(chosen, line):
            picture(axes, images[labels == label].mean(axis=0).astype(np.uint8), dataset.classes[label])
        line[0].set_ylabel(dataset.title, fontsize=8)
    return figure


def projection(datasets, count=2000, seed=0):
    """The first two principal components of some training images, a large dot at the mean of each class.

    Source: scikit-learn's PCA on the pixels. Introduced in notebook 01.
    """
    figure, grid = panels(len(datasets), 3.6, datasets, 0.08)
    for axes, dataset in zip(grid, datasets):
        images, labels = dataset.split("training")
        chosen = np.random.default_rng(seed).permutation(len(images))[:count]
        places = PCA(2, svd_solver="randomized", random_state=seed).fit_transform(images[chosen].reshape(len(chosen), -1) / 255)
        for label, name in enumerate(dataset.classes):
            mine = places[labels[chosen] == label]
            colour = COLOURS[label % len(COLOURS)]
            axes.plot(*mine.T, ".", ms=2, alpha=0.4, color=colour)
            axes.plot(*mine.mean(axis=0), "oD^s"[label // len(COLOURS) % 4], ms=7, mec="black", mew=0.6, color=colour, label=name)
        axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=7, frameon=False, columnspacing=1)
        axes.set_title(dataset.title)
        axes.set_xlabel("first component")
    grid[0].set_ylabel("second component")
    return figure


def beside(rows, columns):
    """Rows of images with a title each: `rows` holds lists of (image, title)."""
    figure, grid = plt.subplots(len(rows), columns, figsize=(WIDTH, 1.42 * WIDTH / 6 * len(rows)), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for line, row in zip(grid, rows):
        for axes, cell in zip(line, row):
            picture(axes, *cell)
    return figure


def pairs(rows, columns=6):
    """Two images above one another in each column: `rows` holds (upper, its title, lower, its title)."""
    return beside([[row[:2] for row in rows], [row[2:] for row in rows]], columns)


def labelled(rows, columns=6):
    """Images with a title each: `rows` holds (image, title)."""
    return beside([rows[i : i + columns] for i in range(0, len(rows), columns)], columns)


def votes(shares, rows, columns):
    """A table of shares (0 to 1) as a picture: a row for each label, a column for each vote."""
    figure, axes = plt.subplots(figsize=(0.85 * WIDTH, 2.7))
    sns.heatmap(100 * shares, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=100, ax=axes, annot_kws={"fontsize": 7},
                linewidths=0.4, xticklabels=columns, yticklabels=rows, cbar_kws={"label": "share of votes (%)"})
    axes.set_xlabel("votes of the ten annotators")
    axes.set_ylabel("label of FER2013")
    axes.tick_params(length=0)
    plt.setp(axes.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    plt.setp(axes.get_yticklabels(), rotation=0)
    return figure


def curves(runs, titles):
    """Loss and accuracy against epochs, a column a run, the kept epoch marked. Introduced in notebook 02."""
    figure, grid = plt.subplots(2, len(runs), figsize=(WIDTH if len(runs) > 1 else 0.7 * WIDTH, 3.8),
                                sharex="col", squeeze=False)
    for column, run, title in zip(grid.T, runs, titles):
        for axes, quantity, factor in zip(column, ("loss", "accuracy"), (1, 100)):
            epochs = run.history["epoch"]
            axes.plot(epochs, factor * run.history[quantity], "-o", ms=2.5, label="training")
            axes.plot(epochs, factor * run.history[f"validation_{quantity}"], "-s", ms=2.5, label="validation")
            axes.axvline(run.record["best_epoch"], color="0.4", ls=":", label="epoch kept")
            axes.xaxis.get_major_locator().set_params(integer=True)
        column[0].set_title(title)
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
    return labelled([(images[i], f"is: {dataset.classes[labels[i]]}\nsaid: {dataset.classes[probabilities[i].argmax()]}\n"
                                 f"at {float(probabilities[i].max()):.0%}") for i in chosen], columns)


def mended(dataset, run, chosen, columns=6):
    """Test images with the true class, what the network said to the image alone, and the six views' probability of the class."""
    images, labels = dataset.split("test")
    alone, views = run.test()[0], run.predictions["test_probabilities_tta"]
    return labelled([(images[i], f"is: {dataset.classes[labels[i]]}\nalone: {dataset.classes[alone[i].argmax()]}\n"
                                 f"six views: {float(views[i, labels[i]]):.0%}") for i in chosen], columns)


def weights(kernels, columns):
    """Weights (n, height, width) as small pictures: blue positive, red negative, white zero."""
    rows = -(-len(kernels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, 1.05 * rows * WIDTH / columns), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, kernel in zip(grid.ravel(), kernels):
        limit = np.abs(kernel).max()
        axes.imshow(kernel, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
    return figure


def colour_filters(kernels, columns=12):
    """Filters (n, height, width, channels) as pictures; zero is grey. Introduced in notebook 04."""
    limit = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    return labelled([((127.5 + 127.5 * kernel).astype(np.uint8), f"{i}") for i, kernel in enumerate(kernels / limit, start=1)], columns)


def feature_maps(image, blocks):
    """An image, then a row of feature maps (height, width, maps) a block. Introduced in notebook 03."""
    columns = 1 + blocks[0].shape[-1]
    figure, grid = plt.subplots(len(blocks), columns, figsize=(WIDTH, 0.75 * len(blocks)), squeeze=False)
    for number, (line, block) in enumerate(zip(grid, blocks), start=1):
        picture(line[0], image) if number == 1 else line[0].axis("off")
        for axes, values in zip(line[1:], np.moveaxis(block, -1, 0)):
            axes.imshow(values, cmap="viridis", interpolation="nearest")
            axes.axis("off")
        line[1].set_title(f"block {number}", fontsize=8)
    return figure


def shifts(curves):
    """Accuracy (0 to 1) against the pixels by which images were moved, a line a network."""
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 2.4))
    for marker, (title, values) in zip("os^D", curves.items()):
        axes.plot(100 * np.array(values), f"-{marker}", ms=4, label=title)
    axes.set_xlabel("moved to the right (pixels)")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(0, 100)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure


def influence(study):
    """Validation accuracy against the values of each factor: a dot a seed, the mean with its 95 % interval.

    study: {factor: {variant: runs}}; the base is drawn hollow. Introduced in notebook 03.
    """
    figure, grid = panels(len(study), 2.1)
    deviation, freedom = evaluation.pooled(study)
    for axes, (factor, points) in zip(grid, study.items()):
        means = []
        for x, runs in enumerate(points.values()):
            values = 100 * np.array([run.record["metrics"]["validation"]["accuracy"] for run in runs])
            half = 100 * t.ppf(0.975, freedom) * deviation / np.sqrt(len(runs)) if freedom else 0
            base = runs[0].record["variant"] == "study-base"
            axes.plot([x] * len(values), values, ".", ms=4, color="0.6")
            axes.errorbar(x, values.mean(), yerr=half, fmt="o", ms=5, capsize=3, color=COLOURS[0], mfc="white" if base else None)
            means.append(values.mean())
        values = [name.split("-", 1)[1].replace("-", ", ") for name in points]
        if values[0][0].isdigit():
            axes.plot(means, lw=1, color=COLOURS[0], zorder=1)
        axes.set_xticks(range(len(points)), values)
        axes.set_xlabel(factor)
        axes.grid(axis="y", color="0.92")
    for axes in grid[::3]:
        axes.set_ylabel("validation accuracy (%)")
    return figure


def steps(tables, matched=()):
    """Test accuracy of networks that were trained alike: a dot a seed, the mean with its 95 % interval, the parameters.

    tables: {title: {name: runs}}, a panel a title; the interval is from the `pooled` deviation. matched: names that are
    drawn in another colour. Introduced in notebook 03.
    """
    figure, grid = panels(len(tables), 2.8)
    names = list(dict.fromkeys(name for points in tables.values() for name in points))
    for axes, (title, points) in zip(grid, tables.items()):
        deviation, freedom = evaluation.pooled({"": points}, "test")
        for name, runs in points.items():
            values, row = 100 * evaluation.accuracies(runs, "test"), names.index(name)
            half = 100 * t.ppf(0.975, freedom) * deviation / np.sqrt(len(runs)) if freedom else 0
            axes.plot(values, [row] * len(values), ".", ms=4, color="0.6")
            axes.errorbar(values.mean(), row, xerr=half, fmt="s" if name in matched else "o", ms=4, capsize=3,
                          color=COLOURS[name in matched])
            axes.annotate(f"{values.mean():.1f} %, {runs[0].record['parameters'] / 1000:,.0f} thousand", (values.mean(), row),
                          (0, 5), textcoords="offset points", ha="center", fontsize=7)
        axes.set_yticks(range(len(names)), names if axes is grid[0] else [])
        axes.set_ylim(len(names) - 0.5, -0.8)
        axes.margins(x=0.3)
        axes.set_title(title)
        axes.set_xlabel("test accuracy (%)")
        axes.grid(axis="x", color="0.92")
    return figure


def turns(points):
    """Training and validation loss after each epoch, mean over seeds, a panel for each of {title: runs}.

    A dotted line marks the mean epoch whose weights are kept. Introduced in notebook 03.
    """
    figure, grid = panels(len(points), 2.1)
    for axes, (title, runs) in zip(grid, points.items()):
        for name, quantity, style in (("training", "loss", "-"), ("validation", "validation_loss", "--")):
            losses = np.array([run.history[quantity] for run in runs])
            line, = axes.plot(runs[0].history["epoch"], losses.mean(axis=0), style, lw=1.2, label=name)
            axes.fill_between(runs[0].history["epoch"], losses.min(axis=0), losses.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)
        axes.axvline(np.mean([run.record["best_epoch"] for run in runs]), color="0.4", ls=":", label="epoch kept")
        axes.set_title(title)
        axes.set_ylim(0, 0.7)
        axes.set_xlabel("epoch")
        axes.grid(color="0.92")
    for axes in grid[::3]:
        axes.set_ylabel("cross-entropy")
    figure.legend(*grid[0].get_legend_handles_labels(), ncols=3, loc="outside upper center", frameon=False)
    return figure


def heat_map(frame, label):
    """A table of numbers as a picture, each number in its field. Introduced in notebook 03."""
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 2.4))
    sns.heatmap(frame, annot=True, fmt=".1f", cmap="cividis", ax=axes, annot_kws={"fontsize": 8}, linewidths=0.4,
                cbar_kws={"label": label})
    axes.tick_params(length=0)
    plt.setp(axes.get_yticklabels(), rotation=0)
    return figure


def shares(lines):
    """Validation accuracy against the share of the training images, a line each: {label: {share: runs}}, dots for seeds."""
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 2.4))
    for marker, colour, (label, points) in zip("os^", COLOURS, lines.items()):
        values = {share: 100 * evaluation.accuracies(runs) for share, runs in sorted(points.items())}
        axes.plot(list(values), [value.mean() for value in values.values()], f"-{marker}", ms=4, color=colour, label=label)
        for share, value in values.items():
            axes.plot([share] * len(value), value, ".", ms=3, color=colour, alpha=0.5)
    axes.set_xscale("log", base=2)
    ticks = sorted({share for points in lines.values() for share in points})
    axes.set_xticks(ticks, [f"{100 * share:.3g}" for share in ticks])
    axes.set_xlabel("share of the training images (%)")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure


def histories(studies, legend):
    """Validation accuracy after each epoch, a line a point, the mean of its seeds; a panel for each {variant: runs}.

    studies: {title: {variant: runs}}; legend: what the variants differ in. Introduced in notebook 03.
    """
    figure, grid = panels(len(studies), 2.6)
    for axes, (title, points) in zip(grid, studies.items()):
        for marker, (name, runs) in zip("os^Dv", points.items()):
            mean = 100 * np.mean([run.history["validation_accuracy"] for run in runs], axis=0)
            axes.plot(runs[0].history["epoch"], mean, f"-{marker}", ms=3, label=name.split("-", 1)[1])
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.92")
    grid[0].set_ylabel("validation accuracy (%)")
    grid[-1].legend(frameon=False, title=legend)
    return figure


def budget(runs_by_model, published, title):
    """Test accuracy against training time: our runs, a marker a network, and published results.

    published: (what, accuracy in percent, seconds, hardware) each. Introduced in notebook 04.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for marker, (model, runs) in zip("os^D", runs_by_model.items()):
        tests = [run.record["metrics"]["test"] for run in runs]
        seconds = [run.record["seconds"]["train"] for run in runs]
        line, = axes.plot(seconds, [100 * test["accuracy"] for test in tests], marker, ms=5, label=MODEL_TITLES[model])
        if "accuracy_tta" in tests[0]:
            axes.plot(seconds, [100 * test["accuracy_tta"] for test in tests], marker, ms=5, fillstyle="none",
                      color=line.get_color(), label=f"{MODEL_TITLES[model]}, six views")
    own = axes.legend(frameon=False, title="this repository", loc="center left")
    crosses = [axes.plot(seconds, accuracy, linestyle="", marker=f"${i}$", ms=6, color="0.3", label=f"{what}, {hardware}")[0]
               for i, (what, accuracy, seconds, hardware) in enumerate(published, start=1)]
    if published:
        axes.legend(handles=crosses, frameon=False, title="published", loc="lower right", fontsize=7)
        axes.add_artist(own)
    axes.set_xscale("log")
    axes.set_xlabel("training time (seconds)")
    axes.set_ylabel(f"test accuracy on {title} (%)")
    axes.grid(color="0.92")
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

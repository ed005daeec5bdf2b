"""The figures of notebook 05 and the drawings of networks, drawn like those of `lab.plots`."""
import matplotlib.pyplot as plt
import numpy as np

from . import evaluation
from .plots import COLOURS, MODEL_TITLES, WIDTH, panels, picture


def networks(found, datasets):
    """Test accuracy of each network with its 95 % Wilson interval, a panel a data set."""
    models = [model for model in MODEL_TITLES if any(model in runs for runs in found.values())]
    figure, grid = panels(len(datasets), 2.1)
    for axes, dataset in zip(grid, datasets):
        for model, runs in found[dataset.name].items():
            row, accuracy = models.index(model), np.mean([run.record["metrics"]["test"]["accuracy"] for run in runs])
            low, high = evaluation.wilson(accuracy, len(runs[0].predictions["test_labels"]))
            axes.errorbar(100 * accuracy, row, xerr=[[100 * (accuracy - low)], [100 * (high - accuracy)]],
                          fmt="o", ms=4, capsize=3, color=COLOURS[0])
            axes.annotate(f"{100 * accuracy:.1f}", (100 * accuracy, row), (0, 5), textcoords="offset points", ha="center", fontsize=8)
        axes.set_yticks(range(len(models)), [MODEL_TITLES[model] for model in models] if axes is grid[0] else [])
        axes.set_ylim(len(models) - 0.5, -0.8)
        axes.margins(x=0.15)
        axes.set_title(dataset.title)
        axes.set_xlabel("test accuracy (%)")
        axes.grid(axis="x", color="0.92")
    return figure


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
    """Accuracy against confidence, a panel a data set, a line before and after temperature scaling.

    tables: {title: {label: a table of `analysis.reliability`}}; the size of a dot is its share of the images.
    """
    figure, grid = panels(len(tables), 2.4)
    for axes, (title, lines) in zip(grid, tables.items()):
        axes.plot([0, 100], [0, 100], color="0.7", lw=1)
        for (label, table), colour in zip(lines.items(), COLOURS):
            axes.plot(100 * table["confidence"], 100 * table["accuracy"], color=colour, lw=1, label=label)
            axes.scatter(100 * table["confidence"], 100 * table["accuracy"], s=4 + 120 * table["images"] / table["images"].sum(), color=colour)
        axes.set_title(title)
        axes.set_xlabel("confidence (%)")
        axes.grid(color="0.92")
    grid[0].set_ylabel("accuracy (%)")
    grid[0].legend(frameon=False)
    return figure


def coverage(lines):
    """Accuracy against the share of images answered, a panel a data set, a line a network: {title: {label: (share, accuracy)}}."""
    figure, grid = panels(len(lines), 2.2)
    for axes, (title, curves) in zip(grid, lines.items()):
        for (label, (share, accuracy)), style in zip(curves.items(), ("-", "--", "-.", ":")):
            axes.plot(100 * share[len(share) // 50 :], 100 * accuracy[len(share) // 50 :], style, label=label)
        axes.set_title(title)
        axes.set_xlabel("images answered (%)")
        axes.grid(color="0.92")
    grid[0].set_ylabel("accuracy on these (%)")
    handles, labels = max(grid, key=lambda axes: len(axes.lines)).get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center", frameon=False)
    return figure


def heat(images, maps, titles, columns=6):
    """Images above themselves with a map (height, width, 0 to 1) laid over: yellow where it is high."""
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(2 * rows, columns, figsize=(WIDTH, 2.5 * rows), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for i, (image, one, title) in enumerate(zip(images, maps, titles)):
        upper, lower = grid[2 * (i // columns), i % columns], grid[2 * (i // columns) + 1, i % columns]
        picture(upper, image, title)
        picture(lower, image)
        lower.imshow(one, cmap="cividis", alpha=0.6, vmin=0, vmax=1, interpolation="bilinear")
    return figure


def robustness(tables, title):
    """Accuracy against the strength of each corruption, a line a network: {label: a table of `analysis.robustness`}."""
    kinds = list(next(iter(tables.values())).index)
    figure, grid = plt.subplots(2, 4, figsize=(WIDTH, 3.1), sharex=True, sharey=True)
    for axes, kind in zip(grid.ravel(), kinds):
        for marker, (label, table) in zip("os^D", tables.items()):
            axes.plot(range(6), 100 * table.loc[kind], f"-{marker}", ms=3, label=label)
        axes.set_title(kind)
        axes.set_ylim(0, 100)
        axes.set_xticks(range(6))
        axes.grid(color="0.92")
    grid[1, 3].axis("off")
    grid[1, 3].legend(*grid[0, 0].get_legend_handles_labels(), title=title, frameon=False, loc="center")
    grid[0, 3].tick_params(labelbottom=True)
    figure.supxlabel("strength", fontsize=9)
    figure.supylabel("accuracy (%)", fontsize=9)
    return figure


def bars(frames, label):
    """Values (0 to 1) with their intervals, a panel a table with columns value, low, high, images: {title: table}."""
    figure, grid = panels(len(frames), 2.3)
    for axes, (title, frame) in zip(grid, frames.items()):
        axes.errorbar(range(len(frame)), 100 * frame["value"], fmt="o", ms=5, capsize=3, color=COLOURS[0],
                      yerr=100 * np.array([frame["value"] - frame["low"], frame["high"] - frame["value"]]))
        axes.set_xticks(range(len(frame)), [f"{name}\n(n = {n:,})" for name, n in frame["images"].items()], fontsize=7)
        axes.set_title(title)
        axes.margins(x=0.15)
        axes.grid(axis="y", color="0.92")
    grid[0].set_ylabel(label)
    return figure


def maps(places, datasets, found):
    """Images as dots on a map, coloured by class, errors as crosses, a panel a data set.

    places: {data set's name: (n, 2)}; found: {name: (labels, right)} of the same images.
    """
    figure, grid = panels(len(datasets), 3.5, datasets, 0.08)
    for axes, dataset in zip(grid, datasets):
        labels, right = found[dataset.name]
        for label, name in enumerate(dataset.classes):
            mine, colour = labels == label, COLOURS[label % len(COLOURS)]
            axes.plot(*places[dataset.name][mine & right].T, ".", ms=2, color=colour)
            axes.plot(*places[dataset.name][mine & ~right].T, "x", ms=3, mew=0.7, color=colour)
            axes.plot([], [], "o", ms=4, color=colour, label=name)
        axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=7, frameon=False, columnspacing=1)
        axes.set_title(dataset.title)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


STEPS = {"InputLayer": ("picture", "0.8"), "Conv2D": ("convolution", COLOURS[0]), "MaxPooling2D": ("max pooling", COLOURS[1]),
         "GlobalMaxPooling2D": ("maximum", COLOURS[1]), "Flatten": ("flatten", "0.6"), "Dense": ("dense", COLOURS[2])}
ACROSS = 8  # steps in a row; a longer network goes on in the next
WITHIN = {"BatchNormalization": "normalise", "Dropout": "dropout", "Rescaling": "scale"}  # they keep the shape


def diagram(*networks):
    """Each network from left to right: a box a layer that changes the shape, and below it what keeps the shape.

    A box is as high as the maps are, and the wider the more maps there are (logarithm); what has no
    height and width any more is a bar, the higher the longer the vector. Introduced in notebook 02.
    """
    rows = [(network, steps, part) for network in networks for steps in [_steps(network)]
            for part in np.array_split(np.arange(len(steps)), -(-len(steps) // ACROSS))]
    figure, grid = plt.subplots(len(rows), figsize=(WIDTH, 1.5 * len(rows)), squeeze=False)
    for axes, (network, steps, part) in zip(grid[:, 0], rows):
        for place, (name, colour, shape, notes) in enumerate(steps[i] for i in part):
            flat = len(shape) == 1
            height = 0.1 + 0.9 * (np.log2(shape[0]) / 16 if flat else shape[0] / network.inputs[0].shape[1])
            width = 0.1 if flat else 0.1 + 0.07 * np.log2(shape[-1])
            axes.add_patch(plt.Rectangle((place - width / 2, -height / 2), width, height, facecolor=colour, edgecolor="0.2", lw=0.6))
            axes.text(place, 0.56, "×".join(map(str, shape)), ha="center", va="bottom", fontsize=7)
            axes.text(place, -0.56, "\n".join([name, *notes]), ha="center", va="top", fontsize=7)
        axes.annotate("", (len(part) - 0.55, 0), (-0.45, 0), arrowprops={"arrowstyle": "->", "color": "0.5", "lw": 0.8}, zorder=0)
        axes.set_xlim(-0.6, ACROSS - 0.4)
        axes.set_ylim(-1.35, 0.8)
        axes.axis("off")
        if part[0] == 0:
            axes.set_title(f"{MODEL_TITLES.get(network.name, network.name)}: {network.count_params():,} parameters", loc="left", pad=2)
    return figure


def _steps(network):
    """Return [name, colour, shape, notes] of each layer that changes the shape; the others are notes of the one before."""
    found = []
    for layer in network.layers:
        kind, activation = type(layer).__name__, getattr(getattr(layer, "activation", None), "__name__", "linear")
        shape = (layer.output if kind != "InputLayer" else network.inputs[0]).shape[1:]
        if kind in STEPS:
            size = f" {layer.kernel_size[0]}×{layer.kernel_size[1]}" if kind == "Conv2D" else ""
            name = "convolve" + size if size else STEPS[kind][0]
            found.append([name, STEPS[kind][1], shape, []])
        elif kind != "Activation":
            found[-1][3].append(WITHIN.get(kind, kind))
        if activation != "linear":
            found[-1][3].append(activation)
    return found

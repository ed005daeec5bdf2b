"""Figures of networks: layers, filters, feature maps, and what they make of images."""

import matplotlib.pyplot as plt
import numpy as np

from .base import COLOURS, MODEL_TITLES, WIDTH, labelled, panels, picture


def weights(kernels, columns, name=None):
    """Weights (n, height, width) as small pictures, each scaled to its largest weight.

    name: what one picture is, such as "filter"; it is written above each with its
        number.
    """
    rows = -(-len(kernels) // columns)
    height = (1.05 if name is None else 1.3) * rows * WIDTH / columns + 0.5
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for i, (axes, kernel) in enumerate(zip(grid.ravel(), kernels), start=1):
        limit = np.abs(kernel).max() or 1
        shown = axes.imshow(
            kernel / limit, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest"
        )
        if name:
            axes.set_title(f"{name} {i}", fontsize=7, pad=2)
    bar = figure.colorbar(
        shown, ax=grid, orientation="horizontal", aspect=40, shrink=0.5, pad=0.02
    )
    bar.set_label("weight, as a share of the largest in its picture", fontsize=8)
    bar.set_ticks([-1, 0, 1])
    return figure


def colour_filters(kernels, columns=12):
    """Filters (n, height, width, channels) as pictures; zero is grey. Introduced in
    notebook 04.
    """
    limit = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    return labelled(
        [
            ((127.5 + 127.5 * kernel).astype(np.uint8), f"{i}")
            for i, kernel in enumerate(kernels / limit, start=1)
        ],
        columns,
    )


def feature_maps(image, blocks):
    """An image, then a row of feature maps (height, width, maps) a block. Introduced in
    notebook 03.
    """
    columns = 1 + blocks[0].shape[-1]
    figure, grid = plt.subplots(
        len(blocks), columns, figsize=(WIDTH, 0.75 * len(blocks)), squeeze=False
    )
    for number, (line, block) in enumerate(zip(grid, blocks), start=1):
        picture(line[0], image) if number == 1 else line[0].axis("off")
        for axes, values in zip(line[1:], np.moveaxis(block, -1, 0)):
            axes.imshow(values, cmap="viridis", interpolation="nearest")
            axes.axis("off")
        line[1].set_title(f"block {number}", fontsize=8)
    return figure


def maps(places, datasets, found):
    """Images as dots on a map, coloured by class, errors as crosses, a panel a data
    set.

    places: {data set's name: (n, 2)}; found: {name: (labels, right)} of the same
        images.
    """
    figure, grid = panels(len(datasets), 3.5, datasets, 0.08)
    for axes, dataset in zip(grid, datasets):
        labels, right = found[dataset.name]
        for label, name in enumerate(dataset.classes):
            mine, colour = labels == label, COLOURS[label % len(COLOURS)]
            axes.plot(*places[dataset.name][mine & right].T, ".", ms=2, color=colour)
            axes.plot(
                *places[dataset.name][mine & ~right].T, "x", ms=3, mew=0.7, color=colour
            )
            axes.plot([], [], "o", ms=4, color=colour, label=name)
        axes.legend(
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            fontsize=7,
            frameon=False,
            columnspacing=1,
        )
        axes.set_title(dataset.title)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


STEPS = {
    "InputLayer": ("picture", "0.8"),
    "Conv2D": ("convolution", COLOURS[0]),
    "MaxPooling2D": ("max pooling", COLOURS[1]),
    "GlobalMaxPooling2D": ("maximum", COLOURS[1]),
    "Flatten": ("flatten", "0.6"),
    "Dense": ("dense", COLOURS[2]),
}


ACROSS = 8  # steps in a row; a longer network goes on in the next


# They keep the shape.
WITHIN = {"BatchNormalization": "normalise", "Dropout": "dropout", "Rescaling": "scale"}


def diagram(*networks):
    """Each network from left to right: a box a layer that changes the shape, and below
    it what keeps the shape.

    A box is as high as the maps are, and the wider the more maps there are (logarithm);
    what has no height and width any more is a bar, the higher the longer the vector.
    Introduced in notebook 02.
    """
    rows = [
        (network, steps, part)
        for network in networks
        for steps in [_steps(network)]
        for part in np.array_split(np.arange(len(steps)), -(-len(steps) // ACROSS))
    ]
    figure, grid = plt.subplots(
        len(rows), figsize=(WIDTH, 1.5 * len(rows)), squeeze=False
    )
    for axes, (network, steps, part) in zip(grid[:, 0], rows):
        for place, (name, colour, shape, notes) in enumerate(steps[i] for i in part):
            flat = len(shape) == 1
            height = 0.1 + 0.9 * (
                np.log2(shape[0]) / 16
                if flat
                else shape[0] / network.inputs[0].shape[1]
            )
            width = 0.1 if flat else 0.1 + 0.07 * np.log2(shape[-1])
            axes.add_patch(
                plt.Rectangle(
                    (place - width / 2, -height / 2),
                    width,
                    height,
                    facecolor=colour,
                    edgecolor="0.2",
                    lw=0.6,
                )
            )
            axes.text(
                place,
                0.56,
                "×".join(map(str, shape)),
                ha="center",
                va="bottom",
                fontsize=7,
            )
            axes.text(
                place,
                -0.56,
                "\n".join([name, *notes]),
                ha="center",
                va="top",
                fontsize=7,
            )
        axes.annotate(
            "",
            (len(part) - 0.55, 0),
            (-0.45, 0),
            arrowprops={"arrowstyle": "->", "color": "0.5", "lw": 0.8},
            zorder=0,
        )
        axes.set_xlim(-0.6, ACROSS - 0.4)
        axes.set_ylim(-1.35, 0.8)
        axes.axis("off")
        if part[0] == 0:
            axes.set_title(
                f"{MODEL_TITLES.get(network.name, network.name)}:"
                f" {network.count_params():,} parameters",
                loc="left",
                pad=2,
            )
    return figure


def _steps(network):
    """Return [name, colour, shape, notes] of each layer that changes the shape; the
    others are notes of the one before.
    """
    found = []
    for layer in network.layers:
        kind, activation = (
            type(layer).__name__,
            getattr(getattr(layer, "activation", None), "__name__", "linear"),
        )
        shape = (layer.output if kind != "InputLayer" else network.inputs[0]).shape[1:]
        if kind in STEPS:
            size = (
                f" {layer.kernel_size[0]}×{layer.kernel_size[1]}"
                if kind == "Conv2D"
                else ""
            )
            name = "convolve" + size if size else STEPS[kind][0]
            found.append([name, STEPS[kind][1], shape, []])
        elif kind != "Activation":
            found[-1][3].append(WITHIN.get(kind, kind))
        if activation != "linear":
            found[-1][3].append(activation)
    return found

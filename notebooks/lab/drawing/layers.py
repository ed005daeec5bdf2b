"""Figures of networks: layers, filters, feature maps, and what they make of images."""

import matplotlib.pyplot as plt
import numpy as np

from ..plumbing.building import functional, output_shape
from ..plumbing.fingerprint import architecture
from ..plumbing.names import MODEL_TITLES
from .base import COLOURS, NARROW, WIDTH, labelled, picture


def weights(kernels, columns, name):
    """Weights (n, height, width) as small pictures, each scaled to its largest weight.

    name: what one picture is, such as "unit"; it is written above each with its number.
    """
    rows = -(-len(kernels) // columns)
    height = 1.3 * rows * WIDTH / columns + 0.5
    figure, grid = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for i, (axes, kernel) in enumerate(zip(grid.ravel(), kernels), start=1):
        limit = np.abs(kernel).max() or 1
        shown = axes.imshow(
            kernel / limit, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest"
        )
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
    figure = labelled(
        [
            ((127.5 + 127.5 * kernel).astype(np.uint8), f"{i}")
            for i, kernel in enumerate(kernels / limit, start=1)
        ],
        columns,
    )
    for axes in figure.axes:
        axes.title.set_fontsize(12)
    return figure


def window(image, kernel, result, row, column):
    """A small picture, a filter and what it gives, with their numbers; the window at
    `row` and `column` and its output are marked. Introduced in notebook 03.
    """
    figure, grid = plt.subplots(
        1, 3, figsize=(WIDTH, 2.3), width_ratios=[len(image), len(kernel), len(result)]
    )
    high, wide = kernel.shape
    boxes = [(row, column, high, wide), None, (row, column, 1, 1)]
    for axes, values, name, box in zip(
        grid, (image, kernel, result), ("picture", "filter", "output"), boxes
    ):
        low, high = min(0, values.min()), values.max()
        axes.imshow(values, vmin=low, vmax=high, interpolation="nearest")
        for (i, j), value in np.ndenumerate(values):
            ink = "black" if value > (low + high) / 2 else "white"
            axes.text(j, i, f"{value:g}", ha="center", va="center", color=ink)
        axes.set_title(f"{name}, {values.shape[0]} × {values.shape[1]}")
        axes.set_xticks(range(values.shape[1]))
        axes.set_yticks(range(values.shape[0]))
        axes.tick_params(length=0, labelcolor="0.4")
        axes.set_xlabel("column")
        axes.set_ylabel("row")
        if box:
            top, left, rows, columns = box
            place = (left - 0.5, top - 0.5)
            frame = {"fill": False, "edgecolor": COLOURS[1], "lw": 2.5}
            axes.add_patch(plt.Rectangle(place, columns, rows, **frame))
    return figure


def filters_and_maps(image, kernels, maps):
    """Filters (height, width, n) above the feature maps (height, width, n) that they
    make of an image. Introduced in notebook 03.
    """
    count = kernels.shape[-1]
    figure, grid = plt.subplots(2, count + 1, figsize=(WIDTH, 1.9))
    for axes in grid.ravel():
        axes.axis("off")
    picture(grid[1, 0], image, "image")
    for i in range(count):
        limit = np.abs(kernels[..., i]).max()
        colours = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
        grid[0, i + 1].imshow(kernels[..., i], interpolation="nearest", **colours)
        grid[0, i + 1].set_title(f"filter {i + 1}", fontsize=7.5)
        _map(grid[1, i + 1], maps[..., i], f"map {i + 1}")
    return figure


def feature_maps(image, blocks):
    """An image, then a row of feature maps (height, width, maps) a block. Introduced in
    notebook 03.
    """
    columns = 1 + blocks[0].shape[-1]
    size = (WIDTH, 1.2 * WIDTH / columns * len(blocks))
    figure, grid = plt.subplots(len(blocks), columns, figsize=size, squeeze=False)
    for axes in grid[:, 0]:
        axes.axis("off")
    picture(grid[0, 0], image, "image")
    for number, (line, block) in enumerate(zip(grid, blocks), start=1):
        side = f"{block.shape[0]} × {block.shape[1]}"
        for i, axes in enumerate(line[1:]):
            _map(axes, block[..., i], f"block {number}, map {i + 1}\n{side}")
    return figure


def _map(axes, values, title):
    axes.imshow(values, cmap="viridis", interpolation="nearest")
    axes.set_title(title, fontsize=7.5)
    axes.axis("off")


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
WITHIN = {
    "BatchNormalization": "normalise",
    "Dropout": "dropout",
    "Rescaling": "scale",
    "Add": "add",
}


def diagram(*networks):
    """Each network from left to right: a box a layer that changes the shape, and below
    it what keeps the shape; brackets above mark the blocks.

    A box is as high as the maps are, and the wider the more maps there are (logarithm);
    what has no height and width any more is a bar, the higher the longer the vector.
    Introduced in notebook 02.
    """
    rows = [
        (network, groups, first)
        for network in map(functional, networks)
        for groups, first in _rows(_blocks(_steps(network)))
    ]
    figure, grid = plt.subplots(
        len(rows), figsize=(NARROW, 1.1 * len(rows)), squeeze=False
    )
    for axes, (network, groups, first) in zip(grid[:, 0], rows):
        side, place = network.inputs[0].shape[1], 0
        for block, steps in groups:
            if block:
                _bracket(axes, place - 0.45, place + len(steps) - 0.55, block)
            for step in steps:
                _box(axes, place, side, *step)
                place += 1
        arrow = {"arrowstyle": "->", "color": "0.5", "lw": 0.8}
        axes.annotate("", (place - 0.55, 0), (-0.45, 0), arrowprops=arrow, zorder=0)
        axes.set_xlim(-0.6, ACROSS - 0.4)
        axes.set_ylim(-1.35, 1.3)
        axes.axis("off")
        if first:
            name = MODEL_TITLES.get(network.name, network.name)
            title = f"{name}: {network.count_params():,} parameters"
            axes.set_title(title, loc="left", pad=9)
    return figure


def _box(axes, place, side, name, colour, shape, notes, skipped):
    flat = len(shape) == 1
    height = 0.1 + 0.9 * (np.log2(shape[0]) / 16 if flat else shape[0] / side)
    width = 0.1 if flat else 0.1 + 0.07 * np.log2(shape[-1])
    corner = (place - width / 2, -height / 2)
    style = {"facecolor": colour, "edgecolor": "0.2", "lw": 0.6}
    axes.add_patch(plt.Rectangle(corner, width, height, **style))
    said = "\n".join([name, *notes])
    axes.text(place, 0.56, "×".join(map(str, shape)), ha="center", fontsize=7)
    axes.text(place, -0.56, said, ha="center", va="top", fontsize=7)
    if 0 < skipped <= place:  # else the sum reaches back into the row above
        arrow = {"arrowstyle": "->", "color": "0.3", "lw": 0.8}
        arrow["connectionstyle"] = "arc3,rad=-0.04"
        ends = (place, 0.97), (place - skipped, 0.97)
        axes.annotate("", *ends, arrowprops=arrow)


def _bracket(axes, left, right, block):
    axes.plot([left, left, right, right], [1.05, 1.15, 1.15, 1.05], color="0.4", lw=0.8)
    middle = (left + right) / 2
    axes.text(middle, 1.17, f"block {block}", ha="center", va="bottom", fontsize=7)


def _blocks(steps):
    """Return (number, steps) groups: a block begins at a convolution that a pooling
    follows; number 0 is a step outside of all blocks.
    """
    groups, number = [], 0
    kinds = [step[0].split()[0] for step in steps] + [""]
    for step, kind, following in zip(steps, kinds, kinds[1:]):
        if kind == "conv" and following == "max":
            number += 1
            groups.append((number, [step]))
        elif groups and groups[-1][0] and kind in ("conv", "max"):
            groups[-1][1].append(step)
        else:
            groups.append((0, [step]))
    return groups


def _rows(groups):
    """Return (groups, whether it is the first row) for each row of `ACROSS` steps; no
    row ends within a group.
    """
    rows, room = [], 0
    for group in groups:
        if room < len(group[1]):
            rows.append(([], not rows))
            room = ACROSS
        rows[-1][0].append(group)
        room -= len(group[1])
    return rows


def _steps(network):
    """Return [name, colour, shape, notes, skipped] of each layer that changes the
    shape; the others are notes of the one before. skipped: over how many steps a sum
    reaches back.
    """
    steps, step_of = [], []
    for (_, _, read, *_), layer in zip(architecture(network), network.operations):
        kind, activation = (
            type(layer).__name__,
            getattr(getattr(layer, "activation", None), "__name__", "linear"),
        )
        first = kind == "InputLayer"
        shape = network.inputs[0].shape[1:] if first else output_shape(layer)
        if kind in STEPS:
            size = (
                f" {layer.kernel_size[0]}×{layer.kernel_size[1]}"
                if kind == "Conv2D"
                else ""
            )
            name = "conv" + size if size else STEPS[kind][0]
            steps.append([name, STEPS[kind][1], shape, [], 0])
        elif shape != steps[-1][2]:
            steps.append([kind, "0.9", shape, [], 0])
        elif kind != "Activation":
            steps[-1][3].append(WITHIN.get(kind, kind))
        if activation != "linear":
            steps[-1][3].append(activation)
        step_of.append(len(steps) - 1)
        if kind == "Add":
            steps[-1][4] = step_of[-1] - min(step_of[i] for i in read)
    return steps

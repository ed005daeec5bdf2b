"""Figures that compare networks and recipes."""

from fractions import Fraction
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from scipy.stats import t

from ..plumbing.names import BASE, MODEL_TITLES
from .base import COLOURS, MARKERS, NARROW, WIDTH, panels


def networks(finished, datasets):
    """Test accuracy of each network with its 95 % interval, a panel a data set.

    finished: {data set's name: {model: Seeds}}.
    """
    drawn = set().union(*finished.values())
    models = [name for name in MODEL_TITLES if name in drawn]
    figure, grid = panels(len(datasets), 2.1)
    for axes, dataset in zip(grid, datasets):
        for model, seeds in finished[dataset.name].items():
            row, accuracy = models.index(model), 100 * seeds.mean()
            low, high = (100 * end for end in seeds.interval())
            error = [[max(0, accuracy - low)], [max(0, high - accuracy)]]
            _mark(axes, accuracy, row, xerr=error)
            _above(axes, f"{accuracy:.1f}", accuracy, row)
        names = [MODEL_TITLES[model] for model in models]
        axes.set_yticks(range(len(models)), names if axes is grid[0] else [])
        axes.set_ylim(len(models) - 0.5, -0.8)
        axes.margins(x=0.15)
        axes.set_title(dataset.title)
        axes.set_xlabel("test accuracy (%)")
        axes.grid(axis="x", color="0.92")
    return figure


def _mark(axes, x, y, fmt="o", ms=4, colour=COLOURS[0], **options):
    axes.errorbar(x, y, fmt=fmt, ms=ms, capsize=3, color=colour, **options)


def _above(axes, text, x, y, points=5):
    place = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
    axes.annotate(text, (x, y), (0, points), **place)


def _half(seeds, deviation, freedom):
    """Return half of the 95 % interval of a mean over seeds, in points; 0 where nothing
    tells how seeds spread.
    """
    if not freedom:
        return 0
    return 100 * t.ppf(0.975, freedom) * deviation / np.sqrt(len(seeds))


def influence(study, deviation, freedom):
    """Validation accuracy against the values of each factor: a dot a seed, the mean
    with its 95 % interval.

    study: {factor: {variant: Seeds}}; the base, and what has its recipe, is drawn
        hollow. Trainings that collapsed lie below their panel: an arrow and the
        accuracy mark them.
    deviation, freedom: of the seeds, as `statistics.pooled` returns them. Introduced in
        notebook 03.
    """
    figure, grid = panels(len(study), 1.1, width=NARROW)
    runs = [seeds[0] for points in study.values() for seeds in points.values()]
    base = [run.recipe for run in runs if run.record["variant"] == BASE]
    for axes, (factor, points) in zip(grid, study.items()):
        means = np.full(len(points), np.nan)
        for x, seeds in enumerate(points.values()):
            values = 100 * seeds.values("validation", "accuracy")
            if seeds.collapsed():
                _below(axes, x, values.mean())
                continue
            axes.plot([x] * len(values), values, ".", ms=4, color="0.6")
            hollow = {"mfc": "white"} if seeds[0].recipe in base else {}
            half = _half(seeds, deviation, freedom)
            _mark(axes, x, values.mean(), ms=5, yerr=half, **hollow)
            means[x] = values.mean()
        values = [name.split("-", 1)[1].replace("-", ", ") for name in points]
        if factor == "training share":
            values = [str(Fraction(value)) for value in values]
        if values[0][0].isdigit():
            axes.plot(means, lw=1, color=COLOURS[0], zorder=1)
        slanted = {"rotation": 40} if len("".join(values)) > 12 else {}
        axes.set_xticks(range(len(points)), values, **slanted)
        axes.set_xlim(-0.3, len(points) - 0.7)
        axes.set_xlabel(factor)
        axes.tick_params(labelsize=7.5)
        axes.grid(axis="y", color="0.92")
    figure.supylabel("validation accuracy (%)", fontsize=9)
    return figure


def _below(axes, x, accuracy):
    """Mark a point that lies below the panel."""
    bottom = axes.get_xaxis_transform()
    axes.plot(x, 0.05, "v", ms=6, color=COLOURS[3], transform=bottom, clip_on=False)
    text = f"failed\n({accuracy:.0f} %)"
    place = {"ha": "center", "va": "bottom", "fontsize": 7.5, "transform": bottom}
    axes.text(x, 0.12, text, color=COLOURS[3], **place)


def steps(tables, matched=()):
    """Test accuracy of networks that were trained alike: a dot a seed, the mean with
    its 95 % interval, the parameters.

    tables: {title: {name: Seeds}}, a panel a title; each interval is of the network's
        own seeds. matched: names that are drawn in another colour.
        Introduced in notebook 03.
    """
    figure, grid = panels(len(tables), 2.8)
    names = list(dict.fromkeys(name for points in tables.values() for name in points))
    for axes, (title, points) in zip(grid, tables.items()):
        for name, seeds in points.items():
            values, row = 100 * seeds.values("test", "accuracy"), names.index(name)
            axes.plot(values, [row + 0.25] * len(values), ".", ms=5, color="0.4")
            other = name in matched
            style = {"fmt": "s" if other else "o", "colour": COLOURS[other]}
            half = _half(seeds, seeds.deviation(), len(seeds) - 1)
            _mark(axes, values.mean(), row, xerr=half, **style)
            thousands = seeds[0].record["parameters"] / 1000
            text = f"{values.mean():.1f} %, {thousands:,.0f} thousand"
            _above(axes, text, values.mean(), row)
        axes.set_yticks(range(len(names)), names if axes is grid[0] else [])
        axes.set_ylim(len(names) - 0.5, -0.8)
        axes.margins(x=0.45)
        axes.set_title(title)
        axes.set_xlabel("test accuracy (%)")
        axes.grid(axis="x", color="0.92")
    return figure


def shares(lines):
    """Validation accuracy against the share of the training images, a line each.

    lines: {label: {variant: Seeds}}, the lowest first; small dots are seeds, numbers
        are means.
        Introduced in notebook 03.
    """
    figure, axes = plt.subplots(figsize=(0.7 * NARROW, 2.0))
    ticks, lowest = set(), next(iter(lines)) if len(lines) > 1 else None
    for marker, colour, (label, points) in zip("os^", COLOURS, lines.items()):
        values = {
            seeds[0].record["recipe"]["subset"] or 1: 100
            * seeds.values("validation", "accuracy")
            for seeds in points.values()
        }
        ordered = sorted(values)
        means = [values[share].mean() for share in ordered]
        axes.plot(ordered, means, f"-{marker}", ms=4, color=colour, label=label)
        for share, value in values.items():
            axes.plot([share] * len(value), value, ".", ms=3, color=colour, alpha=0.5)
            place = (value.min(), -11) if label == lowest else (value.max(), 5)
            _above(axes, f"{value.mean():.1f}", share, *place)
        ticks |= set(values)
    axes.set_xscale("log", base=2)
    axes.margins(x=0.08)
    axes.set_xticks(sorted(ticks), [f"{100 * share:.3g}" for share in sorted(ticks)])
    axes.margins(y=0.2)
    axes.set_xlabel("share of the training images (%)")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure


def heat_map(points):
    """Mean validation accuracy of pairs of learning rate and batch size, each number in
    its field; rates that have one batch size alone are left out.

    points: {variant: Seeds}. Introduced in notebook 03.
    """
    frame = pd.DataFrame()
    for seeds in points.values():
        recipe, accuracy = seeds[0].record["recipe"], 100 * seeds.mean("validation")
        frame.loc[recipe["learning_rate"], recipe["batch_size"]] = accuracy
    frame = frame.dropna(thresh=2).sort_index().sort_index(axis=1)
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 2.4))
    sns.heatmap(
        frame.rename_axis(index="learning rate", columns="batch size"),
        annot=True,
        fmt=".1f",
        cmap="cividis",
        ax=axes,
        annot_kws={"fontsize": 8},
        linewidths=0.4,
        cbar_kws={"label": "validation accuracy (%)"},
    )
    axes.tick_params(length=0)
    plt.setp(axes.get_yticklabels(), rotation=0)
    return figure


def shifts(curves):
    """Accuracy (0 to 1) against the pixels by which images were moved, a line a
    network.
    """
    figure, axes = plt.subplots(figsize=(0.7 * NARROW, 2.0))
    for marker, (title, values) in zip(cycle(MARKERS), curves.items()):
        axes.plot(100 * np.array(values), f"-{marker}", ms=4, label=title)
    axes.set_xlabel("moved to the right (pixels)")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(0, 100)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure


def robustness(right, title):
    """Accuracy against the strength of each corruption, a line a network: {label: a
    table of `statistics.tried`}.
    """
    tables = {label: table.mean().unstack() for label, table in right.items()}
    kinds, strengths = next(iter(tables.values())).axes
    figure, grid = plt.subplots(2, 4, figsize=(NARROW, 2.7), sharex=True, sharey=True)
    order = list(MODEL_TITLES.values())  # as in the other figures
    for axes, kind in zip(grid.ravel(), kinds):
        for label, table in tables.items():
            i = order.index(label) % len(MARKERS)
            style = {"color": COLOURS[i], "ms": 3, "label": label, "zorder": 3 - i / 10}
            axes.plot(strengths, 100 * table.loc[kind], "-" + MARKERS[i], **style)
        axes.set_title(kind)
        axes.set_ylim(0, 100)
        axes.set_xticks(strengths)
        axes.grid(color="0.92")
    for axes in grid.ravel()[len(kinds) :]:
        axes.axis("off")
    lines, names = grid[0, 0].get_legend_handles_labels()
    legend = {"title": title, "frameon": False, "loc": "center", "handlelength": 1.5}
    grid[1, 3].legend(lines, names, **legend)
    grid[0, 3].tick_params(labelbottom=True)
    figure.supxlabel("strength", fontsize=9)
    figure.supylabel("accuracy (%)", fontsize=9)
    return figure


def bars(frame, groups):
    """Test accuracy (0 to 1) of groups of images with its interval: a table of
    `tables.by_group`.

    groups: what the horizontal axis shows.
    """
    figure, axes = plt.subplots(figsize=(0.6 * NARROW, 1.5))
    value = 100 * frame["value"]
    ends = np.array([value - 100 * frame["low"], 100 * frame["high"] - value])
    _mark(axes, range(len(frame)), value, ms=5, yerr=ends.clip(min=0))
    names = [f"{name}\n(n = {n:,})" for name, n in frame["images"].items()]
    axes.set_xticks(range(len(frame)), names, fontsize=8)
    axes.set_xlabel(groups)
    axes.set_ylabel("accuracy (%)")
    axes.margins(x=0.15)
    axes.grid(axis="y", color="0.92")
    return figure

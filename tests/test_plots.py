"""Figures of data sets that are not ours: many classes, long names."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from conftest import ROOT
from lab import LabError, audit, datasets, figures, tables
from lab.drawing import output
from lab.runs import Seeds, read


@pytest.fixture(scope="module")
def thirty(digits):
    """The digits, dealt into thirty classes with long names."""
    names = tuple(f"class of pictures no. {i}" for i in range(30))
    return replace(digits, classes=names, labels=np.arange(len(digits.labels)) % 30)


def overlaps(texts):
    """Return whether any two of some texts, in their order, are drawn over one
    another.
    """
    texts[0].figure.canvas.draw()
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return any(one.overlaps(other) for one, other in pairwise(boxes))


def test_the_names_of_thirty_classes_do_not_overlap(thirty):
    balance = figures.class_balance([thirty]).axes[0]
    assert len(balance.get_yticklabels()) == 30 and not overlaps(
        balance.get_yticklabels()
    )
    means = [axes for axes in figures.mean_images([thirty]).axes if axes.get_title()]
    assert len(means) == 30 and not overlaps([axes.title for axes in means])


def test_the_legend_of_twenty_classes_is_below_the_axis_title(thirty):
    twenty = replace(thirty, classes=thirty.classes[:20], labels=thirty.labels % 20)
    axes = figures.projection([twenty]).axes[0]
    axes.figure.canvas.draw()
    assert (
        axes.get_legend().get_window_extent().y1
        <= axes.xaxis.label.get_window_extent().y0 + 1
    )


def test_a_title_that_fits_is_not_cut(digits):
    figure = figures.labelled(
        [
            (digits.images[0], "label: T-shirt/top"),
            (digits.images[1], "a very long name of a class\n→ 1"),
        ]
    )
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "label: T-shirt/top",
        "a very long na…\n→ 1",
    ]


def test_the_lines_of_the_channels_differ_without_colour():
    colours = replace(
        datasets.KNOWN["cifar10"],
        images=np.zeros((4, 32, 32, 3), np.uint8),
        labels=np.zeros(4, int),
        splits={"training": np.arange(4)},
    )
    lines = figures.pixel_histogram([colours]).axes[0].get_lines()
    grey = [np.dot((0.3, 0.59, 0.11), to_rgb(line.get_color())) for line in lines]
    assert [line.get_label() for line in lines] == ["red", "green", "blue"]
    assert np.diff(sorted(grey)).min() > 0.1 and lines[1].get_linestyle() == "--"


def test_near_copies_stand_under_their_test_images(digits):
    found = audit.near_copies(digits)
    axes = figures.near_pairs(digits, found).axes
    assert len(axes) == 8 and axes[0].get_title().startswith("test: ")
    few = figures.near_pairs(digits, found[:2]).axes  # each pair once
    assert sum(bool(part.images) for part in few) == 4
    assert axes[4].get_title().endswith(f"{found['correlation'][0]:.3f}")
    assert np.array_equal(
        axes[4].images[0].get_array(),
        digits.split("training")[0][found["training"][0], ..., 0],
    )


def test_the_base_of_a_study_is_hollow_under_each_name():
    folder = ROOT / "data" / "runs" / "cifar10" / "two_conv"
    base, other = (
        Seeds([read(folder / name / "seed-0")])
        for name in ("study-base", "dropout-0.0")
    )
    study = {
        "rate": {"lr-1": base, "lr-2": base},
        "epochs": {"epochs-9": base, "lr-5": other},
    }
    drawn = figures.influence(study, 0.01, 4)
    for axes, second in zip(drawn.axes, (True, False), strict=True):
        faces = [bars[0].get_markerfacecolor() for bars in axes.containers]
        assert [face == "white" for face in faces] == [True, second]
    plt.close(drawn)


def test_no_interval_of_a_group_is_drawn_backwards():
    right = np.ones(50, bool)
    frame = tables.by_group(right, {"all": right, "none": ~right})
    assert frame.index.tolist() == ["all"]
    plt.close(figures.bars(frame, "group"))


@pytest.mark.parametrize("end", [(0.0, 1e-17, 0.3), (1.0, 0.7, 1 - 1e-16)])
def test_a_network_that_is_always_right_or_wrong_is_drawn(end, digits):
    share, low, high = end  # rounding puts an end of the interval beyond the share
    seeds = SimpleNamespace(mean=lambda: share, interval=lambda: (low, high))
    plt.close(figures.networks({digits.name: {"dense": seeds}}, [digits]))


def test_a_number_has_a_minus_sign_and_a_name_keeps_its_hyphen():
    frame = pd.DataFrame({"x": ["-0.5 to +0.2", "-1.0 (-2.0 to +0.5)", "Boeing 7-47"]})
    text = output.latex_table(frame)
    assert "−0.5 to" in text and "−1.0 (−2.0 to" in text and "7-47" in text
    macros = (ROOT / "report" / "macros.tex").read_text()
    assert all(f"{{{ord(letter):X}}}" in macros for letter in "−≤≥→")


def test_a_form_of_a_number_that_is_none_is_one_sentence(tmp_path):
    made = output.Output("01_test", tmp_path)
    with pytest.raises(LabError, match="no form 'percents': take one of count, "):
        made.save_numbers("digits", {"share": 0.5}, "percents")


def test_a_figure_that_looks_the_same_leaves_its_files_alone(tmp_path):
    def saved(y, colour="grey"):
        figure, axes = plt.subplots()
        axes.plot([0, 1, 2], [0, y, 1], color=colour)
        output.Output("01_test", tmp_path).save_figure(figure, "line", "A line.")
        names = "01_line.png", "01_line.pdf"
        return [(tmp_path / "figures" / name).read_bytes() for name in names]

    first = saved(0.5)
    assert saved(0.5 + 1e-7) == first  # as another processor may compute it
    other = saved(0.6)
    assert other[0] != first[0] and other[1] != first[1]
    (tmp_path / "figures" / "01_line.png").write_bytes(b"damaged")
    assert saved(0.6) == other
    (tmp_path / "figures" / "01_line.pdf").unlink()
    assert saved(0.6) == other

"""Figures of data sets that are not ours: many classes, long names."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lab import figures


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


def test_the_legend_of_thirty_classes_is_below_the_axis_title(thirty):
    axes = figures.projection([thirty]).axes[0]
    axes.figure.canvas.draw()
    assert (
        axes.get_legend().get_window_extent().y1
        <= axes.xaxis.label.get_window_extent().y0 + 1
    )


def test_a_title_that_fits_is_not_cut(digits):
    figure = figures.labelled(
        [
            (digits.images[0], "rather: T-shirt/top"),
            (digits.images[1], "is: a very long name of a class\nsaid: 1"),
        ]
    )
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "rather: T-shirt/top",
        "is: a very long name…\nsaid: 1",
    ]

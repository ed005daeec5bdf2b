"""Figures and tables of data sets with many classes, long names and odd letters."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lab import figures
from lab.drawing import base
from lab.drawing.output import confusion_csv, latex_table

LONG = "a class with $dollars$ and a name of seventy-five letters, as some folders have"
CASES = {
    "12 long": [f"{LONG} {i}" for i in range(12)],
    "12 odd": [f"$x_{i}$ 日本 & #" for i in range(12)],
    "60": [f"class {i}" for i in range(60)],
    "200": [f"{LONG} {i}" for i in range(200)],
}


@pytest.fixture(
    params=["60"]
    + [
        pytest.param(name, marks=pytest.mark.long)
        for name in ("12 long", "12 odd", "200")
    ]
)
def dataset(request, digits):
    """A data set with as many classes as one of the cases."""
    classes, labels = CASES[request.param], digits.labels
    return replace(
        digits,
        classes=tuple(classes),
        labels=np.arange(len(labels)) % len(classes),
        title=request.param,
    )


def drawn(dataset):
    """Return figures that show class names."""
    count = len(dataset.classes)
    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"net": rng.random(count)}, index=list(dataset.classes))
    matrix = rng.integers(0, 9, (count, count))
    return [
        figures.confusion(matrix, dataset.classes, "title"),
        figures.class_scores(scores),
        figures.class_balance([dataset]),
        figures.mean_images([dataset]),
        figures.projection([dataset]),
    ]


def test_figures_fit_the_page_and_letters_can_be_read(dataset):
    for figure in drawn(dataset):
        figure.canvas.draw()
        width, height = figure.get_size_inches()
        assert width <= base.WIDTH + 0.01 and height <= 8.9
        box = figure.get_tightbbox()
        assert box.x0 > -0.35 and box.x1 < width + 0.35, figure
        for axes in figure.axes:
            texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
            assert all(text.get_fontsize() >= 5.5 for text in texts if text.get_text())
            boxes = [t.get_window_extent() for t in axes.get_yticklabels()]
            apart = np.diff(sorted((b.y0 + b.y1) / 2 for b in boxes))
            if len(boxes) > 1 and boxes[0].height > 0:
                assert apart.min() >= 0.6 * boxes[0].height
        plt.close(figure)


def test_cut_names_stay_apart_and_have_a_key():
    names = base.labels(CASES["12 long"])
    assert len(set(names)) == 12 and max(map(len, names)) <= 24
    assert f"12 {CASES['12 long'][11]}" in base.key(CASES["12 long"])
    assert base.key(["cat", "dog"]) == base.key(CASES["200"]) == ""
    assert base.labels(["cat", "a$b"]) == ["cat", r"a\$b"]


def test_tables_fit_the_page():
    frame = pd.DataFrame({"name": [*CASES["200"], "日本", "x" * 75], "F1": 0.5})
    text = latex_table(frame)
    assert "and 157 more rows" in text and text.count(r"\\") < 50
    text = latex_table(frame[-2:])
    assert "U+65E5" in text and "x" * 36 not in text and text.isascii() is False


def test_a_class_name_is_no_formula_in_a_spreadsheet():
    text = confusion_csv(np.eye(2, dtype=int), ["=1+1", "cat"])
    assert text.splitlines() == ["true\\predicted,'=1+1,cat", "'=1+1,1,0", "cat,0,1"]

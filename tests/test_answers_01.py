"""The numbers in the answers of notebook 01, each computed from its formula."""

import re

import nbformat
import numpy as np
import pytest

from conftest import ROOT
from lab import taught

BOOK = nbformat.read(ROOT / "notebooks" / "01_dataset_exploration.ipynb", 4)


def answers():
    """Return {number: text} of the answers."""
    text = "\n".join(cell.source for cell in BOOK.cells if cell.cell_type == "markdown")
    text = text[text.index("## Answers") : text.index("## Sources")]
    parts = re.split(r"(?m)^\*\*(\d+)\.\*\*", text)[1:]
    return dict(zip(map(int, parts[::2]), parts[1::2]))


def spread():
    pixels = np.array([0, 0, 255, 255]) / 255
    assert pixels.mean() == pixels.std() == 0.5
    return "Mean = (0 + 0 + 1 + 1) / 4 = 0.5", "√((4 × 0.25) / 4) = 0.5"


def cats_and_dogs():
    truth = np.array(["cat"] * 180 + ["dog"] * 20)
    right = truth == "cat"
    recalls = [right[truth == name].mean() for name in ("cat", "dog")]
    return (
        f"180 / 20 = {180 // 20}",
        f"180 / 200 = {right.mean():g}",
        f"180 / 180 = {recalls[0]:g}, recall of dog = 0 / 20 = {recalls[1]:g}",
        f"(1 + 0) / 2 = {np.mean(recalls):g}",
    )


def shares():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    a, b, c = np.bincount(labels[taught.stratified(labels, 0.15, 0)])
    moved = f"0.15 × 600 = {a}, 0.15 × 300 = {b} and 0.15 × 100 = {c} images"
    return moved, f"{a} / {c} = {a // c}", f"600 / 100 = {600 // 100}"


def centroids():
    image, means = np.array([1, 2]), np.array([[0, 0], [4, 2]])
    first, second = ((image - means) ** 2).sum(axis=1)
    nearest = int(np.argmin([first, second]))
    return f"(2 − 0)² = {first}", f"(2 − 2)² = {second}", f"wins: class {nearest}"


def brighter():
    images = np.random.default_rng(0).integers(0, 225, (2, 8, 8, 1))
    before = taught.unit(images[:1]) @ taught.unit(images[1:]).T
    after = taught.unit(images[:1]) @ taught.unit(images[1:] + 30).T
    assert np.allclose(before, after, atol=1e-5)
    return ("The correlation stays the same",)


def sums():
    first, second = np.array([[10, 0], [0, 0]]), np.array([[0, 10], [0, 0]])
    assert first.sum() == second.sum() == 10
    assert taught.groups(np.stack([first, second])).tolist() == [0, 1]
    return "(10, 0), (0, 0)", "(0, 10), (0, 0): both sums are 10"


numbers, colour = 48 * 48 * 1, 32 * 32 * 3
vector = ", ".join(f"{x:g}" for x in np.eye(7)[4])
EXPECTED = {
    1: (
        f"{numbers:,} numbers",
        f"{colour:,} numbers",
        f"= {45_000 * colour:,} bytes as `uint8`",
        f"{45_000 * colour * 4:,} bytes.",
    ),
    2: (f"({vector})", f"label {int(np.argmax([0, 1, 0, 0, 0, 0, 0]))}."),
    3: spread(),
    4: cats_and_dogs(),
    5: shares(),
    6: centroids(),
    7: (f"0.25 × 1 + 0.75 × 0.1 = {0.25 + 0.75 * 0.1:g}",),
    8: brighter(),
    11: sums(),
}


@pytest.mark.parametrize("number", EXPECTED)
def test_an_answer_holds_what_its_formula_gives(number):
    for part in EXPECTED[number]:
        assert part in answers()[number], (part, answers()[number])

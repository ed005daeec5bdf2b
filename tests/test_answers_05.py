"""The numbers in the answers of notebook 05, computed from their formulas."""

import re
from math import comb

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from exam import section
from lab import taught
from notebooks import read

ANSWERS = section(read(ROOT / "notebooks" / "05_analysis.ipynb"), "Answers")


def assert_said(number, *values, digits=3):
    for value in values:
        text = f"{value:.{digits}f}"
        found = rf"(?<![\d.,]){re.escape(text)}(?!\d|[.,]\d)"
        assert re.search(found, ANSWERS[number]), (number, text)


def test_1_wilsons_interval():
    z, n, p = 1.96, 100, 0.9
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert_said(1, centre, half, centre - half, centre + half)
    assert taught.wilson(p, n) == pytest.approx(
        (centre - half, centre + half), abs=1e-4
    )
    low, high = taught.wilson(p, 4 * n)
    assert (high - low) / (2 * half) == pytest.approx(0.5, abs=0.05)


def test_2_mcnemars_test():
    counts = [comb(12, k) for k in range(4)]
    assert f"1 + {counts[1]} + {counts[2]} + {counts[3]}" in ANSWERS[2]
    p = 2 * sum(counts) / 2**12
    assert_said(2, p)
    first = np.arange(12) < 3
    assert taught.mcnemar(first, ~first) == (3, 9, pytest.approx(p))


def test_3_holms_correction():
    given = [0.012, 0.020, 0.040]
    assert_said(3, *taught.holm(given))
    assert_said(3, *(3 * np.array(given)))
    assert max(taught.holm(given)) < 0.05 < 3 * given[1]


def test_4_precision_recall_and_f1():
    matrix = np.array([[40, 10], [20, 30]])
    f1 = 2 * 40 / (50 + 60)
    assert_said(4, 40 / 60, 40 / 50, f1)
    assert taught.precision_recall_f1(matrix)[2][0] == pytest.approx(f1)


def test_5_the_temperature():
    logits = np.array([2.0, 1.0, 0.0])
    powers = np.exp(logits)
    assert_said(5, *powers[:2], powers.sum(), *powers / powers.sum())
    halved = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert_said(5, *halved)
    p = (powers / powers.sum())[None]
    assert taught.tempered(p, 2)[0] == pytest.approx(halved)


def test_6_the_calibration_error():
    gaps = abs(0.95 - 72 / 80), abs(0.6 - 16 / 20)
    assert_said(6, gaps[0], 0.8 * gaps[0] + 0.2 * gaps[1], digits=2)
    assert_said(6, gaps[1], digits=1)
    columns = {"confidence": [0.95, 0.6], "accuracy": [0.9, 0.8], "images": [80, 20]}
    assert taught.calibration_error(pd.DataFrame(columns)) == pytest.approx(0.08)


def test_7_grad_cam():
    total = 2 * np.array([[1, 0], [2, 1]]) - np.array([[3, 1], [0, 0]])
    heat = np.maximum(total, 0)
    for matrix in (total, heat, heat / heat.max()):
        text = str(matrix.tolist()).replace("-", "−").replace(".0", "")
        assert text in ANSWERS[7], text


def test_11_the_gradient_of_a_probability():
    assert_said(11, 0.5 * 0.5, digits=2)
    assert_said(11, 0.99 * 0.01, digits=4)


def test_the_example_of_the_calibration_error():
    columns = {"confidence": [0.9, 0.6], "accuracy": [0.75, 0.5], "images": [8, 2]}
    assert taught.calibration_error(pd.DataFrame(columns)) == pytest.approx(0.14)

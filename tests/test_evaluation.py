import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import evaluation
from lab.lesson import confusion_csv

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0]], np.float16)
LABELS = np.array([0, 1, 1, 2])


def test_metrics_by_hand():
    found = evaluation.metrics(PROBABILITIES, LABELS)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.5, 0.3, 1.0]).mean(), abs=1e-3)


def test_wilson_interval_by_hand():
    n, p, z = 100, 0.9, 1.959963985
    centre, half = (p + z**2 / (2 * n)), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = evaluation.wilson(p, n)
    assert low == pytest.approx((centre - half) / (1 + z**2 / n))
    assert high == pytest.approx((centre + half) / (1 + z**2 / n))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_confusion_matrix_counts_every_image_once(pairs):
    labels = np.array([true for true, _ in pairs])
    probabilities = np.eye(4, dtype=np.float16)[[said for _, said in pairs]]
    matrix = evaluation.confusion(probabilities, labels)
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert np.trace(matrix) / len(pairs) == pytest.approx(evaluation.metrics(probabilities, labels)["accuracy"])
    table = evaluation.by_class(probabilities, labels, list("abcd"))
    assert table["support"].tolist() == matrix.sum(axis=1).tolist()


def test_a_confusion_matrix_survives_class_names_with_commas():
    classes = ["cat, small", "dog"]
    rows = list(csv.reader(io.StringIO(confusion_csv(np.array([[3, 1], [0, 4]]), classes))))
    assert rows[0][1:] == classes and rows[1] == ["cat, small", "3", "1"]


def test_confident_errors_are_wrong_and_in_order():
    assert evaluation.confident_errors(PROBABILITIES, LABELS).tolist() == [2]
    assert evaluation.largest_confusions(evaluation.confusion(PROBABILITIES, LABELS), "abc", n=1) == [("b", "a", 1)]

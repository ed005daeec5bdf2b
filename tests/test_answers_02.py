"""The numeric answers of notebook 02, computed from their formulas."""

import re

import keras
import nbformat
import numpy as np
import pytest

from conftest import ROOT
from lab import models, taught

BOOK = nbformat.read(ROOT / "notebooks" / "02_dense_baseline.ipynb", as_version=4)


def parts_of(heading):
    """Return {number: text} of the paragraphs under `## Questions` or `## Answers`."""
    [text] = [
        cell.source for cell in BOOK.cells if cell.source.startswith(f"## {heading}\n")
    ]
    found = re.findall(r"^\*\*(\d+)\.\*\* (.+)$", text, re.M)
    return {int(number): paragraph for number, paragraph in found}


QUESTIONS, ANSWERS = parts_of("Questions"), parts_of("Answers")


def said(number, *values):
    """Assert that an answer holds each of the values, as words of their own."""
    for value in values:
        assert re.search(
            rf"(?<![\d.,]){re.escape(value)}(?![\d]|[.,]\d)", ANSWERS[number]
        )


def test_each_question_has_its_answer():
    assert list(QUESTIONS) == list(ANSWERS) == list(range(1, 13))


def test_parameters_of_the_dense_network():
    cifar = models.build_dense((32, 32, 3), 10)
    hidden, last = (layer.count_params() for layer in cifar.layers[-2:])
    said(1, f"{hidden:,}", f"{last:,}", f"{cifar.count_params():,}")
    before = models.build_dense((28, 28, 1), 10).count_params()
    after = models.build_dense((28, 28, 1), 10, units=1024).count_params()
    said(2, f"{before:,}", f"{after:,}", f"{after / before:.2f}")


def test_softmax_cross_entropy_and_its_gradient():
    powers = np.exp([2.0, 0.0])
    p = powers / powers.sum()
    said(3, f"{powers[0]:.3f}", f"{powers.sum():.3f}", f"{p[0]:.3f}", f"{p[1]:.4f}")
    said(3, f"{-np.log(p[0]):.3f}", f"{-np.log(p[1]):.3f}")
    slopes = np.array([0.7, 0.2, 0.1]) - np.array([0, 1, 0])
    assert "(0.7, −0.8, 0.1)" in ANSWERS[4] and slopes == pytest.approx(
        [0.7, -0.8, 0.1]
    )
    said(4, f"{slopes @ [1, 2, 0]:.1f}".replace("-", "−"), f"{2 * slopes[0]:.1f}")


def test_steps_and_the_peak_of_the_triangle():
    steps = taught.steps_per_epoch(50_000, 128)
    rates = [float(taught.triangle(step, 1, 20 * steps)) for step in range(20 * steps)]
    said(5, str(steps), f"{20 * steps:,}", f"{int(np.argmax(rates)) + 1:,}")


def test_steps_of_gradient_descent_and_of_adam():
    for rate in (0.3, 1.1):
        w = 1.0
        for _ in range(2):
            w -= rate * 2 * w
        said(6, f"{w:.2f}")
    weight = keras.Variable(1.0)
    keras.optimizers.Adam(0.1).apply([keras.ops.convert_to_tensor(2.0)], [weight])
    said(6, f"{float(weight):.1f}")


def test_scores_of_a_class():
    matrix = np.array([[80, 20], [80, 0]])
    precision, recall, f1 = (one[0] for one in taught.precision_recall_f1(matrix))
    said(7, f"{precision:.1f}", f"{recall:.1f}", f"{f1:.3f}")


def test_the_interval_of_few_and_of_many_images():
    low, high = taught.wilson(176 / 200, 200)
    narrow = np.diff(taught.wilson(8800 / 10_000, 10_000))[0]
    said(8, f"{low:.3f}", f"{high:.3f}", f"{(high - low) / narrow:.1f}")


def test_a_second_softmax_keeps_the_loss_from_zero():
    share = np.e / (np.e + 9)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)(
        np.eye(10)[:1], np.eye(10)[:1]
    )
    assert float(loss) == pytest.approx(-np.log(share))
    said(10, f"{share:.3f}", f"{-np.log(share):.3f}")


def test_equal_start_weights_stay_equal_and_random_ones_are_those_of_glorot():
    rng = np.random.default_rng(0)
    images = rng.random((60, 8), np.float32)
    labels = np.eye(3, dtype="float32")[rng.integers(0, 3, 60)]
    network = keras.Sequential([keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
    network.build((None, 8))
    limit = np.abs(network.layers[0].get_weights()[0]).max()
    assert 0.8 * (6 / 13) ** 0.5 < limit <= (6 / 13) ** 0.5
    network.compile(
        keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(True)
    )
    for start in (0.0, 0.1):
        network.set_weights([np.full_like(w, start) for w in network.get_weights()])
        network.fit(images, labels, epochs=3, verbose=0)
        first, _, second, bias = network.get_weights()
        assert (
            np.ptp(first, axis=1).max() < 1e-6 and np.ptp(second, axis=0).max() < 1e-6
        )
        assert (np.abs(first).max() == 0) == (start == 0) and np.ptp(bias) > 0
    assert "limit = √(6 / (inputs + units))" in ANSWERS[10]


def test_operations_of_a_training():
    once = 784 * 512 + 512 * 10
    said(2, f"{once:,}", f"{6 * once * 50_000 * 20 / 1e15:.4f} PFLOP")

"""The numeric answers of notebook 03, computed from their formulas."""

import re
from fractions import Fraction

import keras
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from conftest import ROOT
from lab import models
from lab.methods.statistics import pooled_deviation
from lab.taught import paired_interval, prediction_interval, steps_per_epoch

BOOK = nbformat.read(ROOT / "notebooks" / "03_two_conv_cnn.ipynb", as_version=4)


def numbered(heading):
    """Return {number: text} of the paragraphs of a section."""
    text = "\n\n".join(cell.source for cell in BOOK.cells)
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    parts = re.split(r"(?m)^\*\*(\d+)\.\*\*", section)
    return dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))


@pytest.fixture(scope="module")
def answers():
    return numbered("Answers")


def holds(text, *numbers):
    """Return whether a text holds all numbers, written with commas for thousands."""
    found = re.findall(r"\d[\d,]*", text)
    return {f"{number:,}" for number in numbers} <= {one.rstrip(",") for one in found}


def test_every_question_has_its_answer(answers):
    assert list(numbered("Questions")) == list(answers) == list(range(1, 13))


def test_1_a_convolution(answers):
    layer = layers.Conv2D(filters=64, kernel_size=3, padding="same")
    output = layer(np.zeros((1, 14, 14, 32)))
    places = output.shape[1] * output.shape[2]
    multiplications = int(np.prod(layer.kernel.shape)) * places
    assert output.shape[1:] == (14, 14, 64) and "14 × 14 × 64" in answers[1]
    assert holds(answers[1], layer.count_params(), places, multiplications)


def test_2_output_sizes(answers):
    picture = np.zeros((1, 32, 32, 1))
    plain = layers.Conv2D(filters=1, kernel_size=5, strides=2)(picture).shape[1]
    padded = layers.Conv2D(filters=1, kernel_size=5, padding="same")(picture).shape[1]
    assert (plain, padded) == ((32 - 5) // 2 + 1, (32 + 4 - 5) // 1 + 1)
    for size in (plain, padded):
        assert f"so {size} × {size}" in answers[2]


def test_3_batch_normalisation(answers):
    layer = layers.BatchNormalization()
    layer(np.zeros((1, 14, 14, 64)))
    learnt = sum(int(np.prod(one.shape)) for one in layer.trainable_weights)
    assert holds(answers[3], layer.count_params(), learnt, 64 * 14 * 14)


def test_4_without_pooling(answers):
    inputs = keras.Input((28, 28, 1))
    with_pooling = models.build_two_conv((28, 28, 1), 10)
    x = layers.Conv2D(filters=32, kernel_size=3, padding="same")(inputs)
    x = layers.Conv2D(filters=64, kernel_size=3, padding="same")(x)
    flat = layers.Flatten()(x)
    dense = layers.Dense(units=256)
    dense(flat)
    before = with_pooling.layers[8].output.shape[1]
    assert flat.shape[1] == 16 * before
    counts = with_pooling.layers[9].count_params(), dense.count_params()
    assert holds(answers[4], before, flat.shape[1], *counts, 4, 16)


def test_5_receptive_fields(answers):
    field, step, fields = 1, 1, []
    for size, stride in ((3, 1), (2, 2)) * 3:
        field, step = field + (size - 1) * step, step * stride
        fields.append(field)
    assert fields == [3, 4, 8, 10, 18, 22]
    assert "18 × 18 and 22 × 22" in answers[5]


def test_6_dropout(answers):
    outputs = np.unique(layers.Dropout(rate=0.5)(np.ones((1, 1000)), training=True))
    assert outputs.tolist() == [0, 2] and "= 2" in answers[6]
    assert 10 * outputs.mean() == 10 and "is 10" in answers[6]


def test_7_steps(answers):
    steps = -(-50_000 // 64)
    assert holds(answers[7], steps, 15 * steps, 15 * steps // 5)


def test_8_a_paired_interval(answers):
    gain, low, high = paired_interval(np.zeros(4), np.array([1, 0, 1, 0]))
    assert gain == 1 / 2 and low < 0 < high and "contains 0" in answers[8]
    assert (high - gain) / 1.96 == pytest.approx(np.sqrt(1 / 12))


def test_11_a_dense_layer_instead(answers):
    convolution = models.build_one_conv((28, 28, 1), 10).layers[2]
    outputs = int(np.prod(convolution.output.shape[1:]))
    dense = 784 * outputs + outputs
    assert holds(answers[11], convolution.count_params(), outputs, dense)


def test_4_slopes_through_a_pooling(answers):
    field = keras.ops.convert_to_tensor(np.array([1.0, 2, 3, 4]).reshape(1, 2, 2, 1))
    for layer, said in (
        (layers.MaxPooling2D(2), "0, 0, 0, 1"),
        (layers.AveragePooling2D(2), "1/4, 1/4, 1/4, 1/4"),
    ):
        with tf.GradientTape() as tape:
            tape.watch(field)
            output = layer(field)
        slopes = np.ravel(tape.gradient(output, field))
        assert np.allclose(slopes, [float(Fraction(part)) for part in said.split(", ")])
        assert said in answers[4]


def test_9_a_surer_error_costs_more(answers):
    for share in (10, 1000):
        assert f"{np.log(share):.1f}" in answers[9]


def test_examples_of_the_text():
    text = "\n".join(cell.source for cell in BOOK.cells)
    deviation, freedom = pooled_deviation([np.array([70, 72]), np.array([60, 61, 62])])
    assert deviation == pytest.approx(np.sqrt(4 / 3)) and freedom == 3
    assert "√((1 + 1 + 1 + 0 + 1) / (5 − 2))" in text
    low, high = prediction_interval([90, 91, 92])
    assert (round(low), round(high)) == (86, 96) and "91 ± 5" in text
    assert f"{steps_per_epoch(50_000, 32):,} steps" in text

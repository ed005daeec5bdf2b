"""The numeric answers of notebook 04, computed from their formulas."""

import math
import re

import keras
import numpy as np
import pytest
from keras import layers

from lab import Schedule, models, parts, taught
from lab.datasets import KNOWN
from lab.taught import averaged, shifted
from test_notebooks import BOOKS, prose


def written():
    """Return {number: text} of the answers."""
    text = "\n".join(cell.source for cell in prose(BOOKS["04_improved_cnn"]))
    answers = text.split("## Answers")[1].split("## Sources")[0]
    parts_ = re.split(r"(?m)^\*\*(\d+)\.\*\* ", answers)[1:]
    return dict(zip(map(int, parts_[::2]), parts_[1::2], strict=True))


ANSWERS = written()


def has(number, *values):
    """Whether an answer holds each of some numbers or words."""
    return all(
        re.search(rf"(?<![\d.,]){re.escape(str(value))}(?!\d|[.,]\d)", ANSWERS[number])
        for value in values
    )


def convolution(size):
    return keras.Sequential(
        [keras.Input((8, 8, 64)), layers.Conv2D(64, size, use_bias=False)]
    ).count_params()


def test_two_small_convolutions_have_fewer_weights_than_a_large_one():
    assert has(1, f"{2 * convolution(3):,}", f"{convolution(5):,}")


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_the_whitening_layer(shape):
    layer = models.build_improved(shape, 10).get_layer(parts.WHITENING)
    height, width, filters = layer.output.shape[1:]
    assert has(2, f"{filters} filters", f"= {layer.count_params()} weights")
    assert has(2, f"{height} × {width} × {filters}")


def test_a_dense_layer_in_place_of_global_max_pooling():
    network = models.build_improved(KNOWN["cifar10"].shape, 10)
    [pooling] = [
        one for one in network.layers if isinstance(one, layers.GlobalMaxPooling2D)
    ]
    shape = pooling.input.shape[1:]
    assert shape == (3, 3, 256) and pooling.count_params() == 0
    values = math.prod(shape)
    dense = keras.Sequential([keras.Input((values,)), layers.Dense(256)])
    assert has(3, f"= {values:,} numbers", f"= {dense.count_params():,} parameters")


def test_the_lowest_loss_with_label_smoothing():
    true = np.eye(10)[3]
    target = 0.9 * true + 0.1 / 10
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert has(4, f"{target[3]:.2f}", f"{target[0]:.2f}")
    assert has(4, f"= {float(loss(true, target)):.3f}")


def test_steps_and_rates_of_the_triangle():
    recipe = models.improved_recipes["cifar10"]
    images = 50_000 - 5_000
    epoch = math.ceil(images / recipe.batch_size)
    steps = epoch * recipe.epochs
    assert has(5, f"= {epoch} steps", f"{steps:,}")
    schedule = Schedule(taught.triangle, peak=recipe.learning_rate, steps=999)
    for step in (99, 799):  # a share of 10 % and of 80 % is done
        assert has(5, f"= {float(schedule(step)):.2g}")


def test_two_steps_of_nesterov_momentum():
    weight = keras.Variable(1.0)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.85, nesterov=True)
    for digits in (3, 3):
        optimizer.apply([keras.ops.copy(weight)], [weight])
        assert has(6, f"{float(weight):.{digits}f}")


def test_the_steps_after_which_weight_decay_has_halved_a_kernel():
    recipe = models.improved_recipe
    decay = recipe.optimizer_arguments["weight_decay"]
    factor = 1 - recipe.learning_rate * decay
    steps = math.log(0.5) / math.log(factor)
    assert has(7, f"{factor:.6f}", f"{steps:.1f}", f"{math.ceil(steps)} steps")


def test_the_shifted_row_and_the_cutout():
    row = shifted(np.tile(np.arange(1, 6), (3, 1)).reshape(1, 3, 5, 1), 0, -1)
    assert has(8, ", ".join(map(str, row[0, 0, :, 0])), f"1 / {32 * 32 // (8 * 8)}")


def test_the_average_of_lookahead():
    assert has(9, f"= {averaged(2, 6, 0.25):g}")
    assert averaged(2, 6, 0) == 6

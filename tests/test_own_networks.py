"""Networks and recipes as students write them: trained, or refused in one sentence."""

import importlib.util
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from lab import LabError, engine, parts, taught, training
from lab.drawing import layers as drawing
from lab.drawing import tables
from lab.plumbing import storage
from lab.plumbing.fingerprint import operations
from lab.recipes import Job, Recipe

RECIPE = Recipe(epochs=1, batch_size=256, subset=0.2)


def ended(x, classes, inputs):
    """Return a model that ends as ours do."""
    x = layers.Dense(classes, activation="softmax")(layers.Flatten()(x))
    return keras.Model(inputs, x)


class Scale(layers.Layer):
    """A layer without get_config."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


class Sub(keras.Model):
    def __init__(self, classes, softmaxes=1):
        super().__init__()
        self.flat, self.softmaxes = layers.Flatten(), softmaxes
        self.last = layers.Dense(classes, activation="softmax")

    def call(self, x):
        x = self.last(self.flat(x / 255))
        return keras.ops.softmax(x) if self.softmaxes > 1 else x


class OwnStep(Sub):
    def train_step(self, data):
        return super().train_step(data)


def sequential(shape, classes):
    parts = [layers.Rescaling(1 / 255), layers.Flatten()]
    return keras.Sequential([*parts, layers.Dense(classes, activation="softmax")])


def sequential_with_input(shape, classes):
    parts = [keras.Input(shape), layers.Conv2D(4, 3), layers.Flatten()]
    return keras.Sequential([*parts, layers.Dense(classes, activation="softmax")])


def divided(shape, classes):
    inputs = keras.Input(shape)
    return ended(inputs / 255.0, classes, inputs)


def cast(shape, classes):
    inputs = keras.Input(shape, dtype="uint8")
    return ended(keras.ops.cast(inputs, "float32") / 255.0, classes, inputs)


def with_lambda(shape, classes):
    inputs = keras.Input(shape)
    return ended(layers.Lambda(lambda x: x / 255)(inputs), classes, inputs)


def with_activation(shape, classes):
    def square(x):
        return keras.ops.relu(x) ** 2

    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 3, activation=square)(inputs / 255)
    return ended(x, classes, inputs)


def with_layer(shape, classes):
    inputs = keras.Input(shape)
    return ended(Scale(1 / 255)(inputs), classes, inputs)


def subclassed(shape, classes):
    return Sub(classes)


def nested(shape, classes):
    inputs = keras.Input(shape)
    base = keras.Sequential([layers.Conv2D(4, 3, strides=2), layers.ReLU()])
    inner = keras.Input((7, 7, 4))
    block = keras.Model(inner, layers.Conv2D(2, 3)(inner))
    block.trainable = False
    return ended(block(base(inputs / 255)), classes, inputs)


def shared(shape, classes):
    inputs = keras.Input(shape)
    dense = layers.Dense(64)
    x = dense(dense(layers.Reshape((4, 64))(inputs / 255)))
    x = layers.MultiHeadAttention(2, 8)(x, x)
    return ended(keras.ops.mean(x, axis=1), classes, inputs)


def two_inputs(shape, classes):
    first, second = keras.Input(shape), keras.Input(shape)
    return ended(first + second, classes, [first, second])


def two_outputs(shape, classes):
    model = divided(shape, classes)
    return keras.Model(model.inputs, [model.output, model.output])


def no_return(shape, classes):
    divided(shape, classes)


def a_tensor(shape, classes):
    return divided(shape, classes).output


def added(shape, classes):
    model = keras.Sequential()
    model.add(keras.Input(shape))
    model.add(layers.Conv2D(4, 3, strides=2))
    model.add(layers.Flatten())
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def no_softmax(shape, classes):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(inputs)))


def sigmoid(shape, classes):
    model = no_softmax(shape, classes)
    return keras.Model(model.inputs, keras.ops.sigmoid(model.output))


def twice(shape, classes):
    model = divided(shape, classes)
    return keras.Model(model.inputs, layers.Softmax()(model.output))


def twice_subclassed(shape, classes):
    return Sub(classes, softmaxes=2)


def one_number(shape, classes):
    return divided(shape, 1)


def any_size(shape, classes):
    inputs = keras.Input((None, None, shape[-1]))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def halves(shape, classes):
    inputs = keras.Input(shape)
    left, right = keras.ops.split(inputs / 255, 2, axis=1)
    return ended(left + right, classes, inputs)


def twelve(shape, classes):
    return divided(shape, 12)


def no_flatten(shape, classes):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(inputs))


def other_shape(shape, classes):
    return divided((28, 28, 1), classes)


def pooled_away(shape, classes):
    x = inputs = keras.Input(shape)
    for _ in range(6):
        x = layers.MaxPooling2D()(x)
    return ended(x, classes, inputs)


def misspelt(shape, classes):
    return layer.Dense(classes)  # noqa: F821


def frozen(shape, classes):
    model = divided(shape, classes)
    model.trainable = False
    return model


def own_step(shape, classes):
    return OwnStep(classes)


def one_argument(shape):
    return None


WORKING = [sequential, sequential_with_input, divided, cast, with_lambda]
WORKING += [added, with_activation, with_layer, subclassed, nested, shared]
WORKING += [halves]
REFUSED = {
    no_return: "no_return returns nothing and not a model: end it with `return",
    a_tensor: "returns a KerasTensor and not a model",
    two_inputs: "returns a model with 2 inputs",
    two_outputs: "returns a model with 2 outputs",
    one_number: "gives 1 number for an image, and not one for each of the 10 classes",
    twelve: "gives 12 numbers for an image, and not one for each of the 10",
    no_flatten: "gives 16 × 16 × 10 numbers for an image.*put Flatten",
    any_size: "for images of None × None × 1, and these are of 16 × 16 × 1",
    other_shape: "for images of 28 × 28 × 1, and these are of 16 × 16 × 1",
    pooled_away: "pooled_away cannot build a network for images of 16 × 16 × 1.*"
    "(negative.*at `x = layers.MaxPooling2D|smaller than one pixel)",
    misspelt: "name 'layer' is not defined, at `return layer.Dense",
    frozen: "without any weight to train",
    own_step: "with its own train_step",
    one_argument: "takes 1 positional argument but 2 were given",
    no_softmax: "answers of no_softmax are no probabilities.*softmax",
    sigmoid: "answers of sigmoid are no probabilities",
    twice: "twice applies softmax twice",
    twice_subclassed: "twice_subclassed applies softmax twice",
}


def job(build, recipe=RECIPE):
    return Job("digits", "mine", "main", 0, recipe, build)


@pytest.mark.parametrize("build", WORKING)
def test_networks_of_every_kind_are_described_checked_and_drawn(digits, build):
    training.check(job(build), digits)
    assert engine.fingerprint(job(build), digits) == engine.fingerprint(
        job(build), digits
    )
    network = build(digits.shape, 10)
    if build not in (sequential, subclassed):  # they are built for a shape later
        count = sum(int(n.replace(",", "")) for n in layer_numbers(network))
        assert count == network.count_params()
        drawing.diagram(network)


@pytest.mark.parametrize("build", [added, sequential_with_input, with_activation])
def test_heat_and_features_of_own_networks(digits, build):
    network = training.build(build, digits, RECIPE)
    images = digits.split("test")[0][:3]
    layer = parts.fine_convolution(network)
    heat = taught.grad_cam(network, layer, images, np.array([0, 1, 2]))
    assert heat.shape == (3, 16, 16) and heat.max() > 0.99
    assert len(taught.features(network, images)) == 3


def test_networks_without_maps_have_features_and_no_heat(digits):
    network = training.build(subclassed, digits, RECIPE)
    assert parts.fine_convolution(network) is None
    assert taught.features(network, digits.split("test")[0][:3]).shape == (3, 10)


def layer_numbers(network):
    return tables.layer_table(network)["parameters"]


@pytest.mark.parametrize("build", [subclassed, nested])
def test_own_networks_train_and_come_back_from_their_weights(digits, build, tmp_path):
    kept = replace(job(build), weights=True, test=True)
    run = engine.train([kept], digits, tmp_path)[0]
    images, _ = digits.split("test")
    network = training.build(build, digits, RECIPE)
    storage.load_weights(run.path, run.record, network, digits.classes)
    again = network.predict(images, verbose=0)
    assert np.abs(again - run.test()[0]).max() < 0.01
    assert run.record["parameters"] == network.count_params()


@pytest.mark.parametrize("build", REFUSED)
def test_a_network_that_cannot_be_trained_is_one_sentence(digits, build, tmp_path):
    with pytest.raises(LabError, match=REFUSED[build]) as refused:
        engine.train([job(build)], digits, tmp_path)
    assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())


def test_a_head_of_zeros_is_no_second_softmax(digits):
    def build(shape, classes):
        inputs = keras.Input(shape)
        last = layers.Dense(classes, "softmax", kernel_initializer="zeros")
        return keras.Model(inputs, last(layers.Flatten()(inputs)))

    training.check(job(build), digits)


SOURCE = """
import keras
from keras import layers

FACTOR = 255


class Double(layers.Layer):
    def call(self, x):
        return 2 * x


def halved(x):
    return x / 2


def build_mine(shape, classes, hidden=4):
    inputs = keras.Input(shape)
    x = layers.Lambda(lambda x: x / FACTOR)(inputs)
    x = layers.Lambda(halved)(Double()(x))
    x = layers.Dense(hidden)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
"""


def of_source(folder, source, digits):
    """Return the fingerprint of a network that is defined in a file."""
    path = folder / f"own{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return engine.fingerprint(job(module.build_mine), digits)


def test_code_in_a_network_belongs_to_its_fingerprint(digits, tmp_path):
    first = of_source(tmp_path, SOURCE, digits)
    layout = SOURCE.replace("    return x / 2", "    # half\n\n    return (x / 2)")
    assert of_source(tmp_path, layout, digits) == first
    changes = [("2 * x", "3 * x"), ("x / 2", "x / 4"), ("x / FACTOR", "x * FACTOR")]
    for before, after in [*changes, ("FACTOR = 255", "FACTOR = 128")]:
        changed = SOURCE.replace(before, after)
        assert of_source(tmp_path, changed, digits) != first, after


def test_a_variable_with_the_name_of_an_attribute_changes_no_fingerprint(digits):
    def build(shape, classes):
        return with_layer(shape, classes)

    before = engine.fingerprint(job(build), digits)
    globals()["factor"] = 3  # Scale has an attribute of this name
    try:
        assert engine.fingerprint(job(build), digits) == before
    finally:
        del globals()["factor"]


def test_every_place_of_a_dense_layer_and_of_all_convolutions_costs_operations():
    def count(*parts):
        return operations(keras.Sequential([keras.Input((8, 8, 3)), *parts]))

    assert count(layers.Dense(5)) == count(layers.Conv2D(5, 1)) == 2 * 8 * 8 * 3 * 5
    rows = layers.Reshape((64, 3))
    assert count(rows, layers.Conv1D(5, 3, padding="same")) == 2 * 64 * 3 * 3 * 5
    apart = layers.SeparableConv2D(5, 3, padding="same")
    assert count(apart) == 2 * 64 * (3 * 3 * 3 + 3 * 5)


def test_constants_and_calls_of_operations_belong_to_the_fingerprint(digits):
    def build(shape, classes, divisor=255.0, axis=1):
        inputs = keras.Input(shape)
        x = keras.ops.mean(inputs / divisor, axis=axis)
        return ended(x, classes, inputs)

    marks = set()
    for arguments in ({}, {"divisor": 127.5}, {"axis": 2}):
        changed = replace(RECIPE, model_arguments=arguments)
        marks.add(engine.fingerprint(job(build, changed), digits))
    assert len(marks) == 3


def test_a_network_that_reads_its_weights_has_the_fingerprint_of_its_layers(digits):
    def build(shape, classes):
        inputs = keras.Input(shape)
        return ended(inputs, classes, inputs)

    def halved(shape, classes):
        network = build(shape, classes)
        network.set_weights([0.5 * weight for weight in network.get_weights()])
        return network

    marks = {engine.fingerprint(job(one), digits) for one in (build, halved)}
    assert len(marks) == 1


BAD = [
    ({"epochs": 0}, "epochs=0: write a whole number"),
    ({"epochs": "5"}, "epochs='5': write a whole number"),
    ({"batch_size": 0}, "batch_size=0"),
    ({"batch_size": 2.5}, "batch_size=2.5"),
    ({"learning_rate": "0.01"}, "learning_rate='0.01': write a number above 0"),
    ({"learning_rate": -1}, "learning_rate=-1"),
    ({"learning_rate": float("nan")}, "learning_rate=nan"),
    ({"label_smoothing": 1.5}, "label_smoothing=1.5: write a number from 0"),
    ({"subset": 2}, "subset=2: write a share"),
    ({"lookahead": 0}, "lookahead=0"),
    ({"precision": "float8"}, "precision='float8': choose among 'float32'"),
    ({"loss": "hinge"}, "A Recipe has no 'loss'"),
    ({"patience": 1}, "A Recipe has no 'patience'"),
    ({"optimizer": "adam"}, "There is no optimizer 'adam'"),
    ({"optimizer": "PartialIdentity"}, "There is no optimizer 'PartialIdentity'"),
    ({"optimizer": 3}, "There is no optimizer 3"),
    ({"optimizer_arguments": {"weight_decai": 1}}, "no argument 'weight_decai'"),
    ({"optimizer_arguments": {"learning_rate": 1}}, "learning rate is set once"),
    ({"optimizer_arguments": 0.9}, "optimizer_arguments=0.9: write a dict"),
    ({"model_arguments": {"act": len}}, "write a dict of names"),
    ({"augmentation": "flip"}, "augmentation='flip': write a dict"),
    ({"augmentation": {"rotate": 10}}, "There is no augmentation 'rotate'"),
    ({"augmentation": {"shift": 1.5}}, "shift=1.5: write a whole number"),
    ({"augmentation": {"erasing": (9, 2)}}, r"erasing=\(9, 2\)"),
    ({"augmentation": {"turn": -5}}, "turn=-5: write a number of degrees"),
    ({"augmentation": {"zoom": 1}}, "zoom=1: write a number from 0 to below 1"),
    ({"augmentation": {"erasing": {}}}, "erasing={}: write the smallest"),
    ({"augmentation": {"erasing": (2, 4, 6)}}, "write the smallest and the largest"),
    ({"augmentation": {"contrast": 7}}, "contrast=7: write a number from 0 to 1"),
    ({"learning_rate": np.float32(0.1)}, "learning_rate=.*: write a number above 0"),
]


@pytest.mark.parametrize("fields, sentence", BAD)
def test_a_recipe_out_of_range_is_one_sentence(fields, sentence):
    with pytest.raises(LabError, match=sentence):
        Recipe(**{"epochs": 1} | fields)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"build": "build_mine"}, "give the function itself"),
        ({"seed": "0"}, "seed='0': write a whole number"),
        ({"model": "my/net"}, "model='my/net': write a name without slashes"),
        ({"recipe": {"epochs": 1}}, "give a Recipe"),
        ({"wait": True}, "A Job has no 'wait'"),
    ],
)
def test_a_job_that_cannot_be_is_one_sentence(fields, sentence):
    with pytest.raises(LabError, match=sentence):
        replace(job(divided), **fields)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"augmentation": {"shift": 40}}, "does not fit images of 16 × 16"),
        ({"augmentation": {"cutout": 99}}, "does not fit images of 16 × 16"),
        ({"augmentation": {"erasing": (1, 17)}}, "does not fit images of 16 × 16"),
        (
            {"optimizer": "SGD", "optimizer_arguments": {"momentum": "much"}},
            re.escape("SGD cannot be made with {'momentum': 'much'}"),
        ),
        ({"subset": 0.001}, "leaves too few for each class"),
    ],
)
def test_a_recipe_that_does_not_fit_the_images_is_one_sentence(
    digits, fields, sentence, tmp_path
):
    with pytest.raises(LabError, match=sentence):
        engine.train([job(divided, replace(RECIPE, **fields))], digits, tmp_path)

"""Parts of networks and of their training that Keras does not have. Introduced in
notebook 04.
"""

import re

import numpy as np

from ..plumbing.backend import keras
from ..taught import averaged, kept_share, orthogonal, whitening_filters

# The name of an offset. TensorFlow hands over its own variables, whose names have a
# path before it and :0 behind.
BETA = r"\bbeta(:0)?$"
WHITENING = "whitening"  # the name of the layer that `whiten` fills


@keras.saving.register_keras_serializable("lab")
class FastOffsetSGD(keras.optimizers.SGD):
    """SGD that moves the offsets (beta) of batch normalisation `offset_factor` times as
    far, without decay.

    Source: K. Jordan, 94 % on CIFAR-10 in 3.29 seconds on a single GPU, arXiv
    2404.00498.
    """

    def __init__(self, learning_rate, offset_factor=64.0, **arguments):
        super().__init__(learning_rate, **arguments)
        self.offset_factor = offset_factor
        self.exclude_from_weight_decay(var_names=[BETA])

    def update_step(self, gradient, variable, learning_rate):
        factor = self.offset_factor if re.search(BETA, variable.name) else 1.0
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self):
        return super().get_config() | {"offset_factor": self.offset_factor}


@keras.saving.register_keras_serializable("lab")
class Muon(FastOffsetSGD):
    """FastOffsetSGD that moves the kernels of convolutions by an orthogonal matrix
    instead of the gradient.

    A kernel (height, width, channels, filters) is read as a matrix, a filter a column,
    and brought to the norm sqrt(filters) before each step. Its gradients, averaged with
    `kernel_momentum` (Nesterov), are made nearly orthogonal by three Newton-Schulz
    steps; the learning rate is multiplied by `kernel_factor`. (Decay changes nothing,
    as the norm is set.)
    Source: K. Jordan, Muon (kellerjordan.github.io/posts/muon), as used in
    airbench94_muon.
    """

    def __init__(
        self, learning_rate, kernel_momentum=0.78, kernel_factor=0.16, **arguments
    ):
        super().__init__(learning_rate, **arguments)
        self.kernel_momentum, self.kernel_factor = kernel_momentum, kernel_factor

    def build(self, variables):
        super().build(variables)
        if not self.momentums:  # SGD has none without momentum; kernels need theirs
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) != 4:
            return super().update_step(gradient, variable, learning_rate)
        ops, filters, momentum = (
            keras.ops,
            variable.shape[-1],
            self.momentums[self._get_variable_index(variable)],
        )
        self.assign(momentum, self.kernel_momentum * momentum + gradient)
        moved = ops.reshape(gradient + self.kernel_momentum * momentum, (-1, filters))
        step = ops.reshape(orthogonal(moved), variable.shape)
        kernel = variable * (filters**0.5 / ops.norm(ops.reshape(variable, (-1,))))
        self.assign(
            variable,
            kernel
            - ops.cast(learning_rate * self.kernel_factor, variable.dtype) * step,
        )

    def get_config(self):
        return super().get_config() | {
            "kernel_momentum": self.kernel_momentum,
            "kernel_factor": self.kernel_factor,
        }


@keras.saving.register_keras_serializable("lab")
class PartialIdentity(keras.initializers.Initializer):
    """Dirac initialisation: the first filters of a convolution copy one channel each.

    The others are uniform within ± 1 / sqrt(fan in). Source: as for FastOffsetSGD.
    """

    def __call__(self, shape, dtype=None):
        limit = np.prod(shape[:-1]) ** -0.5
        kernel = np.array(
            keras.ops.convert_to_numpy(keras.random.uniform(shape, -limit, limit))
        )
        copied = min(shape[2:])
        kernel[..., :copied] = 0
        kernel[shape[0] // 2, shape[1] // 2, range(copied), range(copied)] = 1
        return keras.ops.convert_to_tensor(kernel, dtype)

    def get_config(self):
        return {}


def whiten(network, images):
    """Fill the frozen layer called "whitening" with the filters that make the values of
    small patches of `images` (uint8) uncorrelated, and with their negatives.
    """
    layer = network.get_layer(WHITENING)
    side, _, channels, filters = layer.kernel.shape
    scaled = keras.Model(network.inputs, layer.input).predict(
        images, verbose=0, batch_size=500
    )
    patches = np.lib.stride_tricks.sliding_window_view(
        scaled, (side, side), axis=(1, 2)
    )  # n, h, w, channels, side, side
    flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, side * side * channels)
    kernels = whitening_filters(flat.astype(np.float32))
    half = kernels[:, : filters // 2]
    layer.kernel.assign(
        np.concatenate([half, -half], axis=1).reshape(side, side, channels, filters)
    )


class Lookahead(keras.callbacks.Callback):
    """Every few steps, replace all weights by a slow average of themselves; `slow`
    holds the averages.

    The share of the old average grows with the third power of the steps done, up to
    0.95 a step.
    done: the steps done so far, counted here; a training that goes on later sets it.
    Source: M. Zhang and others, Lookahead Optimizer, arXiv 1907.08610, with the
    schedule of K. Jordan.
    """

    def __init__(self, network, every, steps):
        super().__init__()
        self.network, self.every, self.steps, self.done = network, every, steps, 0
        self.slow = [
            keras.Variable(weight, trainable=False) for weight in network.weights
        ]

    def on_train_batch_end(self, batch, logs=None):
        self.done = done = self.done + 1
        if done % self.every == 0 or done == self.steps:
            keep = kept_share(done, self.steps, self.every)
            for weight, slow in zip(self.network.weights, self.slow):
                slow.assign(averaged(slow, weight, keep))
                weight.assign(slow)


def fine_convolution(network):
    """Return the last convolution of a network, or the last sum of a skip connection,
    whose maps are 8 places high or more; where there is none, the layer with the
    finest maps that training changes, or None.
    """
    maps, trained = [], False
    for layer in network.layers:
        trained = trained or bool(layer.trainable_weights)
        if trained and len(layer.output.shape) == 4:
            maps.append(layer)
    fine = [
        layer
        for layer in maps
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Add))
        and layer.output.shape[1] >= 8
    ]
    return (fine or sorted(maps, key=lambda layer: layer.output.shape[1]) or [None])[-1]

"""What a graphics card asks for: half precision, a compiler, several steps a call."""

from .backend import accelerator, keras, tf
from .files import LabError
from .fingerprint import operations


def check_card(precision):
    """Raise LabError for bfloat16 on a graphics card that lacks it: it would be
    emulated, slower than float32.

    Cards have it from compute capability 8.0 on. Source: openxla/xla issue 12429.
    """
    for card in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(card)
        old = details.get("compute_capability", (8, 0)) < (8, 0)
        if old and precision == "mixed_bfloat16":
            raise LabError(
                f"The graphics card {details.get('device_name', 'here')} has no"
                ' bfloat16: set the precision to "mixed_float16" or "float32".'
            )


def keep_exact(network, precision, name):
    """Return a network in which, whatever the precision, the layer with this name,
    those that scale pixels, and every softmax compute in float32.
    """
    if precision == "float32":
        return network
    softmax = keras.activations.softmax
    for layer in network.layers:
        scales = isinstance(layer, keras.layers.Rescaling) or layer.name == name
        if scales or getattr(layer, "activation", None) is softmax:
            layer.dtype_policy = "float32"
    return network


# From so many operations an image, forward, on, a graphics card trains a network
# compiled by XLA. It fuses batch normalisation, which Keras leaves in parts; small
# networks train for less time than it compiles.
COMPILED_FROM = 5e7


STEPS = 16  # of training in one call, for a small network on a graphics card


def settle(network, precision, lookahead=None):
    """Decide how a compiled network is computed on a graphics card: by XLA, if it is
    large; if it is small, several steps a call, or the card waits for Python between
    them. Raises LabError as `check_card` does.

    Lookahead and `counting` act after each step: with them a call is one step.
    """
    check_card(precision)
    large, on_card = operations(network) >= COMPILED_FROM, accelerator() is not None
    network.jit_compile = large and on_card
    each = large or lookahead or precision == "mixed_float16"
    network.steps_per_execution = STEPS if on_card and not each else 1


def counting(network, history, steps):
    """Return the callbacks, one or none, that let the learning rate follow the batches
    where the loss is scaled: Keras counts none whose gradient overflowed.

    history: one entry an epoch that has ended; steps: batches in an epoch.
    """
    if not isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer):
        return []
    count = network.optimizer.iterations

    def count_batch(batch, logs=None):
        count.assign(len(history) * steps + batch + 1)

    return [keras.callbacks.LambdaCallback(on_train_batch_end=count_batch)]

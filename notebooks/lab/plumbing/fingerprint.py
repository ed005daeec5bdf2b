"""What makes two training runs the same: the fingerprint, equal in every supported
Keras version.
"""

import inspect
import json
from dataclasses import asdict
from functools import lru_cache
from types import FunctionType

import numpy as np

from .backend import apart, keras
from .files import sha256
from .records import hashed

PROTOCOL = 1  # raised only when the same recipe would give other weights


def architecture(model):
    """Describe a functional Keras model in the same words in every supported Keras
    version.

    Returns a list with, for each layer: its class, the arguments that differ from the
    defaults, the positions of the layers it reads, and the shapes of its weights.
    """
    configs = model.get_config()["layers"]
    position = {config["name"]: i for i, config in enumerate(configs)}
    description = []
    for config in configs:
        layer = model.get_layer(config["name"])
        if isinstance(layer, keras.layers.InputLayer):
            differing = {"shape": list(layer.batch_shape[1:])}
        else:
            own, plain = _canonical(layer.get_config()), _canonical(_plain(layer))
            differing = {
                k: v
                for k, v in own.items()
                if k not in ("name", "dtype") and v != plain.get(k)
            }
        description.append(
            [
                config["class_name"],
                differing,
                [position[name] for name in _inputs(config["inbound_nodes"])],
                [list(weight.shape) for weight in layer.weights],
            ]
        )
    return description


def _plain(layer):
    """Return the config of a layer of the same class that was given only what it must
    be given.
    """
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    must = [
        p.name
        for p in parameters
        if p.name != "self"
        and p.default is p.empty
        and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    config = layer.get_config()
    return type(layer)(**{name: config[name] for name in must}).get_config() | {
        name: None for name in must
    }


def _canonical(value):
    """Return a config value without what Keras versions write differently."""
    if isinstance(value, dict):
        if "class_name" in value:
            return [value["class_name"], _canonical(value.get("config"))]
        return {k: _canonical(v) for k, v in value.items() if v is not None}
    return [_canonical(v) for v in value] if isinstance(value, (list, tuple)) else value


def _inputs(node):
    """Yield the names of the layers that a serialised node reads."""
    if isinstance(node, dict):
        if "keras_history" in node:
            yield node["keras_history"][0]
        node = node.values()
    if not isinstance(node, (str, int, float, type(None))):
        for part in node:
            yield from _inputs(part)


def operations(model):
    """Return the multiplications and additions that one image costs on its way forward,
    of convolutions and dense layers.

    Training costs three times as much: forward, and two products of the same size back.
    """
    counts = [
        np.prod(layer.kernel.shape)
        * (np.prod(layer.output.shape[1:-1]) if len(layer.kernel.shape) == 4 else 1)
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]
    return int(2 * sum(counts))


@lru_cache(maxsize=None)
def _described(functions, shape, classes, arguments):
    return apart(
        lambda: architecture(functions[0](shape, classes, **json.loads(arguments)))
    )


def _called(build):
    """Return a function and those that it calls by name, as they are defined now."""
    functions = [build]
    for function in functions:
        for name in getattr(getattr(function, "__code__", None), "co_names", ()):
            value = function.__globals__.get(name)
            if isinstance(value, FunctionType) and value not in functions:
                functions.append(value)
    return tuple(functions)


def fingerprint(job, dataset):
    """Return the SHA-256 of all that decides a run: architecture, recipe, data, split,
    seed, protocol.

    Each architecture is built and described once.
    """
    arguments = json.dumps(job.recipe.model_arguments, sort_keys=True)
    decided = {
        "architecture": _described(
            _called(job.build), dataset.shape, len(dataset.classes), arguments
        ),
        "recipe": hashed(asdict(job.recipe)),
        "data": dataset.sha256,
        "split": dataset.split_sha256,
        "seed": job.seed,
        "protocol": PROTOCOL,
    }
    return sha256(json.dumps(decided, sort_keys=True))

"""What makes two training runs the same: the fingerprint, equal in every supported
Keras version.
"""

import inspect
import json
from dataclasses import asdict
from functools import lru_cache

import numpy as np

from .backend import apart, keras
from .building import built, functional
from .definitions import reached, text
from .files import sha256
from .records import hashed

PROTOCOL = 1  # raised only when the same recipe would give other weights


def architecture(model):
    """Describe a Keras model in the same words in every supported Keras version.

    Returns a list with, for each layer and each operation on tensors: its class, the
    arguments that differ from the defaults, the positions of those it reads, and the
    shapes of its weights; and, where it is called with more than tensors or more than
    once, how. The settings of a model in the model are its architecture.
    """
    model = functional(model)
    try:
        configs = model.get_config()["layers"]
    except Exception:  # a class of the reader's without a config: see `is_own`
        return [
            [type(layer).__name__, {}, [], _shapes(layer)] for layer in model.operations
        ]
    position = {config["name"]: i for i, config in enumerate(configs)}
    operation = {layer.name: layer for layer in model.operations}
    description = []
    for config in configs:
        layer = operation[config["name"]]
        description.append(
            [
                config["class_name"],
                _settings(layer),
                [position[name] for name in _inputs(config["inbound_nodes"])],
                _shapes(layer),
            ]
        )
        calls = [
            _call(_unusual(node, layer), position) for node in config["inbound_nodes"]
        ]
        if len(calls) > 1 or any(call != _simple(call) for call in calls):
            description[-1].append(calls)
    return description


def _shapes(layer):
    return [list(weight.shape) for weight in getattr(layer, "weights", ())]


def _settings(layer):
    """Return the arguments of a layer that differ from the defaults."""
    if isinstance(layer, keras.layers.InputLayer):
        return {"shape": list(layer.batch_shape[1:])}
    if isinstance(layer, keras.Sequential) or hasattr(layer, "operations"):
        return {"trainable": layer.trainable, "model": architecture(layer)}
    own = _canonical(layer.get_config())
    if not isinstance(layer, keras.Layer):
        return {k: v for k, v in own.items() if k != "name"}
    plain = _canonical(_plain(layer))
    return {
        k: v for k, v in own.items() if k not in ("name", "dtype") and v != plain.get(k)
    }


def _unusual(node, layer):
    """Return a call without the keywords that have their default."""
    usual = inspect.signature(layer.call).parameters
    named = {
        name: value
        for name, value in node["kwargs"].items()
        if name not in usual or value != usual[name].default
    }
    return {"args": node["args"], "kwargs": named}


def _call(node, position):
    """Return the arguments of one call of a layer: of tensors, the positions in the
    model, in the calls of the layer there, and in its outputs.
    """
    if isinstance(node, dict) and "keras_history" in node.get("config", ""):
        name, *place = node["config"]["keras_history"]
        return {"tensor": [position[name], *place]}
    if isinstance(node, dict):
        arguments = {name: _call(value, position) for name, value in node.items()}
        return {name: value for name, value in arguments.items() if value is not None}
    if isinstance(node, (list, tuple)):
        return [_call(value, position) for value in node]
    return node


def _simple(call):
    """Return a call with only its tensors, each the first output of a first call."""
    if isinstance(call, dict) and "tensor" in call:
        return {"tensor": [call["tensor"][0], 0, 0]}
    if isinstance(call, dict):
        return {"args": _simple(call.get("args", [])), "kwargs": {}}
    kept = [element for element in call if isinstance(element, (dict, list))]
    return [_simple(element) for element in kept]


def is_own(layer):
    """Return whether a layer or an operation holds code that neither Keras nor the lab
    brings: its class, a function in it, or that of a layer in it.
    """
    if not type(layer).__module__.startswith(("keras.", "lab.methods.")):
        return True
    inner = getattr(layer, "operations", None) or getattr(layer, "layers", ())
    if inner:
        return any(map(is_own, inner))
    try:
        return any(map(_is_own_config, _objects(layer.get_config())))
    except Exception:  # of a layer in it
        return True


def _objects(config):
    """Yield the objects in a config, as Keras writes them."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    for value in config if isinstance(config, (list, tuple)) else ():
        yield from _objects(value)


def _is_own_config(config):
    module, name = config.get("module") or "", config.get("registered_name") or ""
    if config["class_name"].startswith("__") and config["class_name"] != "__lambda__":
        return False
    return not module.startswith("keras") and not name.startswith("lab>")


def _plain(layer):
    """Return the config of a layer of the same class that was given only what it must
    be given; of one that cannot be made so, nothing.
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
    try:
        given = {
            name: getattr(layer, name, None)
            if isinstance(config[name], dict)
            else config[name]
            for name in must
        }
        return type(layer)(**given).get_config() | {name: None for name in must}
    except Exception:  # a class of the reader's may do anything
        return {}


def _canonical(value):
    """Return a config value without what Keras versions write differently."""
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":  # bytes that hold its place
            return ["lambda"]
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
    of convolutions and dense layers, those of functional models in the model included;
    a layer that is called more than once counts once.
    """
    count = 0
    for layer in functional(model).layers:
        for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            if hasattr(layer, name):
                size = np.prod(getattr(layer, name).shape)
                count += 2 * size * np.prod(layer.output.shape[1:-1])
        if isinstance(layer, keras.Sequential) or hasattr(layer, "operations"):
            count += operations(layer)
    return int(count)


def pflop(network, images, epochs):
    """Return what a training costs, in 1e15 operations: forward and, twice as much,
    back, for each image and epoch.
    """
    return round(3 * operations(network) * images * epochs / 1e15, 6)


def sketched(function):
    """Return what a function returns that builds a network and asks for shapes alone:
    its weights get no values, which is twice as fast.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            return function()
    except Exception:  # a network of the reader's may read its weights
        return function()


@lru_cache(maxsize=None)
def _described(build, things, shape, classes, arguments):
    def describe():
        model = built(build, shape, classes, json.loads(arguments))
        description = architecture(model)
        if is_own(model):
            description.append(["source", sha256(text(things))])
        return description

    return apart(sketched, describe)


def fingerprint(job, dataset):
    """Return the SHA-256 of all that decides a run: architecture, recipe, data, split,
    seed, protocol.

    Each architecture is built and described once. Where it holds code of the reader's,
    the source is hashed with it: of the function that builds it and of all that it
    uses. Raises LabError where that function does not build a network for the images.
    """
    arguments = json.dumps(job.recipe.model_arguments, sort_keys=True)
    shape, classes = dataset.shape, len(dataset.classes)
    decided = {
        "architecture": _described(
            job.build, reached(job.build), shape, classes, arguments
        ),
        "recipe": hashed(asdict(job.recipe)),
        "data": dataset.sha256,
        "split": dataset.split_sha256,
        "seed": job.seed,
        "protocol": PROTOCOL,
    }
    return sha256(json.dumps(decided, sort_keys=True))

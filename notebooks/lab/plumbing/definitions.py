"""What a function is made of: the functions, classes and values that it uses, and their
source.
"""

import ast
import dis
import linecache
import sysconfig
from functools import partial
from types import CodeType, FunctionType

import numpy as np

from .files import sha256

INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
PLAIN = (bool, int, float, str, bytes, type(None))


def reached(build):
    """Return a tuple that changes when a function does, as all is defined now: the
    function, the functions and classes that it uses and that no package brings, and the
    names and values of plain variables as text.
    """
    things = [build]
    for thing in things:
        for name, value in _single(_used(thing)):
            if isinstance(value, np.ndarray):
                value = f"{name} = {sha256(str(value.dtype), value.tobytes())}"
            elif isinstance(value, PLAIN):
                value = f"{name} = {value!r}"
            elif not isinstance(value, (FunctionType, type, partial)) or (
                _installed(value)
            ):
                continue
            if value not in things:
                things.append(value)
    return tuple(things)


def text(things):
    """Return the source of what `reached` found, without comments, docstrings and
    layout: the same in a notebook and in a module.
    """
    texts = (thing if isinstance(thing, str) else _text(thing) for thing in things)
    return "\n".join(sorted(texts))  # versions of Python find names in other orders


def _single(pairs):
    """Yield (name, value), with the content of lists, tuples and dicts one by one."""
    for name, value in pairs:
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            yield from _single(
                (f"{name} {key}", element) for key, element in value.items()
            )
        else:
            yield name, value


def _used(thing):
    """Yield (name, value) of what a function, a class or a partial uses."""
    if isinstance(thing, type):
        yield from ((base.__name__, base) for base in thing.__bases__)
        for name, value in vars(thing).items():
            value = getattr(value, "fget", getattr(value, "__func__", value))
            if isinstance(value, FunctionType) or not name.startswith("__"):
                yield name, value
    elif isinstance(thing, partial):
        yield "function", thing.func
        yield from enumerate(thing.args)
        yield from thing.keywords.items()
    elif isinstance(thing, FunctionType):
        for name in _names(thing.__code__):
            if name in thing.__globals__:
                yield name, thing.__globals__[name]
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or ()):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not yet filled
                continue
        yield from enumerate(thing.__defaults__ or ())
        yield from (thing.__kwdefaults__ or {}).items()


def _names(code):
    """Return the global names that a code object and those in it look up."""
    names = [
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    ]
    for inner in code.co_consts:
        names += _names(inner) if isinstance(inner, CodeType) else []
    return list(dict.fromkeys(names))


def _installed(value):
    """Return whether a function or class comes with Python or a package."""
    value = getattr(value, "func", value)
    module = getattr(value, "__module__", None) or ""
    if isinstance(value, FunctionType):
        return value.__code__.co_filename.startswith(INSTALLED)
    methods = [
        member for member in vars(value).values() if isinstance(member, FunctionType)
    ]
    return module == "builtins" or any(map(_installed, methods))


def _text(thing):
    """Return the source of a function; of a class, whose methods come by themselves,
    its name and what it extends.
    """
    if not isinstance(thing, FunctionType):
        bases = [base.__name__ for base in getattr(thing, "__bases__", ())]
        return f"{getattr(thing, '__name__', 'partial')} {bases}"
    code = thing.__code__
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        tree = ast.Module(body=[])
    definitions = [
        node for node in ast.walk(tree) if _first_line(node) == code.co_firstlineno
    ]
    for node in [child for top in definitions for child in ast.walk(top)]:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return "\n".join(str(_tree(node)) for node in definitions) or repr(_bare(code))


def _tree(node):
    """Return a syntax tree as plain Python, the same with every version of Python."""
    if isinstance(node, list):
        return [_tree(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = {name: _tree(part) for name, part in ast.iter_fields(node)}
    return type(node).__name__, {
        k: v for k, v in parts.items() if v not in ([], "None")
    }


def _first_line(node):
    """Return the line at which a function or a lambda begins, None for another node."""
    if isinstance(node, ast.Lambda):
        return node.lineno
    if isinstance(node, ast.FunctionDef):
        return min(part.lineno for part in (node, *node.decorator_list))


def _bare(code):
    """Return what a code object does, without its place in a file."""
    inner = [_bare(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return code.co_code, code.co_names, inner

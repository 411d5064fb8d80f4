"""Flows in files: a description in JSON and the arrays, without pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from graphad.errors import GraphadError
from graphad.flows import transformers
from graphad.flows.masks import Mask
from graphad.flows.part import KINDS, Constant, Part

VERSION = 1
TUPLES: dict[str, Any] = {
    "Mask": Mask,
    "AffineTransformer": transformers.AffineTransformer,
    "ShiftTransformer": transformers.ShiftTransformer,
    "SplineTransformer": transformers.SplineTransformer,
}
TRUSTED = ("numpy", "scipy.special", "graphad")  # where functions are found again by their name


class FlowFileError(GraphadError, ValueError):
    """A file that is no flow, was changed, or needs what is not there."""


def save(flow: Part, path, functions: dict[str, Callable] | None = None) -> None:
    """Write a flow (or any distribution or bijector) to a file, an .npz of arrays and JSON.

    Args:
        path: a file name.
        functions: names for functions of your own that the flow holds (activations, conditioners,
            `Elementwise`); `load` is given the same ones.

    The file is written beside its place and moved there, so an error leaves what was there before.

    >>> import tempfile, os, numpy as np, graphad as ga
    >>> flow = ga.flows.RealNVP((2,), transforms=2, key=ga.random.key(0))
    >>> path = os.path.join(tempfile.mkdtemp(), "flow.npz")
    >>> flow.save(path)
    >>> again = ga.flows.load(path)
    >>> bool(again.log_prob(np.ones(2)) == flow.log_prob(np.ones(2)))
    True
    """
    arrays: list[np.ndarray] = []
    names = {id(f): name for name, f in (functions or {}).items()}
    tree = _written(flow, arrays, names, type(flow).__name__)
    text = json.dumps({"format": "graphad flow", "version": VERSION, "flow": tree})
    held = {f"a{k}": a for k, a in enumerate(arrays)}
    held["description"] = np.frombuffer(text.encode(), np.uint8)
    held["digest"] = np.frombuffer(_digest(text, arrays), np.uint8)
    place = os.fspath(path)
    beside = f"{place}.{os.getpid()}.part"
    try:
        with open(beside, "wb") as file:
            np.savez(file, **held)  # type: ignore[arg-type]
        os.replace(beside, place)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def load(path, functions: dict[str, Callable] | None = None) -> Any:
    """The flow in a file that `save` wrote; nothing in the file is run.

    Raises FlowFileError for a file that is none, that was changed or cut, that a newer version
    wrote, or that names functions which `functions` lacks.
    """
    place = os.fspath(path)
    try:
        with open(place, "rb") as file:
            held = dict(np.load(io.BytesIO(file.read()), allow_pickle=False))
        text = held["description"].tobytes().decode()
        arrays = [held[f"a{k}"] for k in range(len(held) - 2)]
        digest = held["digest"].tobytes()
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as problem:
        raise FlowFileError("flows.load", "the file is no flow", expected="a file of flow.save",
                            got=f"{place}: {problem}",
                            fix="flow.save(path)") from problem  # fmt: skip
    if _digest(text, arrays) != digest:
        raise FlowFileError("flows.load", "the file was changed since it was written", got=place,
                            expected="the digest of its contents",
                            fix="another copy of the file")  # fmt: skip
    whole = json.loads(text)
    if whole.get("format") != "graphad flow" or whole.get("version", 0) > VERSION:
        raise FlowFileError("flows.load", "the file has another format",
                            expected=f"version {VERSION} or older", got=str(whole.get("version")),
                            fix="pip install -U graphad")  # fmt: skip
    return _read(whole["flow"], arrays, functions or {})


def _digest(text: str, arrays) -> bytes:
    made = hashlib.sha256(text.encode())
    for a in arrays:
        made.update(f"{a.dtype.str}{a.shape}".encode())
        made.update(np.ascontiguousarray(a).tobytes())
    return made.digest()


def _written(value, arrays, names, where) -> Any:
    """A value as JSON; arrays are put aside."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Part):
        kept = [n for n in (*value.children, *value.settings) if n not in value.derived]
        fields = {n: _written(value.__dict__[n], arrays, names, f"{where}.{n}") for n in kept}
        return {"part": type(value).__name__, "fields": fields}
    if type(value).__name__ in TUPLES:
        items = value if isinstance(value, tuple) else dataclasses.astuple(value)
        return {"tuple": type(value).__name__,
                "items": [_written(v, arrays, names, where) for v in items]}  # fmt: skip
    if isinstance(value, (tuple, list)):
        return [_written(v, arrays, names, f"{where}.{k}") for k, v in enumerate(value)]
    if isinstance(value, dict):
        return {"dict": {k: _written(v, arrays, names, f"{where}.{k}") for k, v in value.items()}}
    if isinstance(value, Constant):
        return {"constant": _written(value.array, arrays, names, where)}
    if isinstance(value, (np.ndarray, np.generic)):
        arrays.append(np.asarray(value))
        return {"array": len(arrays) - 1}
    if hasattr(value, "expression"):
        return {"expression": _tree(value.expression)}
    if callable(value):
        return {"function": _name_of(value, names, where)}
    raise FlowFileError("flows.save", f"a {type(value).__name__} cannot be written",
                        expected="parts, arrays, numbers, strings and named functions",
                        got=f"{value!r} at {where}"[:200], fix="functions={'name': f}")  # fmt: skip


def _name_of(f, names, where) -> str:
    if id(f) in names:
        return f"given:{names[id(f)]}"
    module, name = getattr(f, "__module__", None) or "", getattr(f, "__qualname__", "")
    if isinstance(f, np.ufunc):
        module, name = "numpy", f.__name__
        if getattr(np, name, None) is not f:
            module = "scipy.special"
    if module.startswith(TRUSTED) and "<" not in name and _found(module, name) is f:
        return f"{module}:{name}"
    raise FlowFileError("flows.save", "a function of your own has no name that a file can hold",
                        expected="functions of numpy, scipy.special or graphad, or functions=",
                        got=f"{f!r} at {where}"[:200],
                        fix="save(flow, path, functions={'name': f}), and load so")  # fmt: skip


def _found(module: str, name: str):
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError):
        return None


def _read(value, arrays, functions) -> Any:
    if isinstance(value, list):
        return tuple(_read(v, arrays, functions) for v in value)
    if not isinstance(value, dict):
        return value
    (kind, inner), *rest = value.items()
    if kind == "float":
        return float(inner)
    if kind == "array":
        return arrays[inner] if arrays[inner].ndim else arrays[inner][()]
    if kind == "constant":
        return Constant(_read(inner, arrays, functions))
    if kind == "dict":
        return {k: _read(v, arrays, functions) for k, v in inner.items()}
    if kind == "expression":
        from graphad.flows.symbolic import elementwise

        expr = _expression(inner)
        return elementwise(expr, next(iter(expr.free_symbols)))
    if kind == "function":
        return _function(inner, functions)
    if kind in ("fields", "part"):
        return _part(value["part"], value["fields"], arrays, functions)
    if kind in ("items", "tuple"):
        return TUPLES[value["tuple"]](*_read(value["items"], arrays, functions))
    raise FlowFileError("flows.load", f"the file has a '{kind}'", expected="what save writes",
                        got=str(rest)[:60], fix="pip install -U graphad")  # fmt: skip


def _tree(expr) -> Any:
    """A sympy expression as nested lists."""
    if expr.is_Symbol:
        return "x"
    if expr.is_Number:
        return {"number": str(expr)}
    return [type(expr).__name__, *map(_tree, expr.args)]


def _expression(tree) -> Any:
    """The expression of `_tree`; names are looked up among sympy's functions alone."""
    import sympy

    if tree == "x":
        return sympy.Symbol("x", real=True)
    if isinstance(tree, dict):
        return sympy.Number(tree["number"]) if "/" not in tree["number"] else sympy.Rational(
            tree["number"])  # fmt: skip
    found = getattr(sympy, tree[0], None)
    if not (isinstance(found, type) and issubclass(found, sympy.Basic)):
        raise FlowFileError("flows.load", f"'{tree[0]}' is no function of sympy", got=tree[0],
                            expected="what save writes", fix="another file")  # fmt: skip
    return found(*map(_expression, tree[1:]))


def _part(name, fields, arrays, functions):
    cls = KINDS.get(name)
    if cls is None:
        raise FlowFileError("flows.load", f"there is no part '{name}'", got=name,
                            expected="parts of graphad, or classes that are imported",
                            fix="import the module that defines it before")  # fmt: skip
    made = object.__new__(cls)
    made._set(**{n: _read(v, arrays, functions) for n, v in fields.items()})
    made._loaded()
    return made


def _function(name: str, functions):
    module, _, rest = name.partition(":")
    found = None
    if module == "given":
        found = functions.get(rest)
    elif module.startswith(TRUSTED):
        found = _found(module, rest)
    if found is None or not callable(found):
        raise FlowFileError("flows.load", f"the function '{rest}' is not there",
                            expected="functions={'" + rest + "': f}", got=", ".join(functions) or
                            "none", fix="load(path, functions=...)")  # fmt: skip
    return found

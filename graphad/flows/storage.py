"""Flows in files: a description in JSON and the arrays; nothing in a file is ever evaluated."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

import graphad as ga
from graphad.errors import GraphadError
from graphad.flows import archive
from graphad.flows.expression import Expression, ExpressionError, Meaning, checked
from graphad.flows.fields import check_fields
from graphad.flows.masks import Mask
from graphad.flows.part import KINDS, Constant, Part, kind_of
from graphad.flows.transformers import AffineTransformer, ShiftTransformer, SplineTransformer

__all__ = ["FlowFileError", "load", "save"]

VERSION = 2
MOST_NESTED = 150  # brackets within brackets in a description
MOST_PARTS = 100_000  # of a flow, those that are used again counted again
TUPLES: dict[str, Any] = {c.__name__: c for c in (
    Mask, Meaning, AffineTransformer, ShiftTransformer, SplineTransformer)}  # fmt: skip
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


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
    written = _Writer({id(f): name for name, f in (functions or {}).items()})
    tree = written.value(flow, type(flow).__name__)
    text = json.dumps({"format": "graphad flow", "version": VERSION, "flow": tree})
    if len(written.arrays) > archive.MOST_ARRAYS or len(text) > archive.MOST_TEXT:
        raise FlowFileError("flows.save", "the flow is too large for a file",
                            expected=f"at most {archive.MOST_ARRAYS} arrays and a description of "
                            f"{archive.MOST_TEXT} bytes",
                            got=f"{len(written.arrays)} arrays, {len(text)} bytes",
                            fix="fewer, larger parameters")  # fmt: skip
    archive.write(path, text, written.arrays)


def load(path, functions: dict[str, Callable] | None = None) -> Any:
    """The flow in a file that `save` wrote; nothing in the file is run.

    Sizes, kinds and a digest are checked before memory is taken or anything is made. Raises
    FlowFileError, a ValueError, for a file that is none, that was changed or cut, that another
    version wrote, or that names functions which `functions` lacks.
    """
    try:
        text, arrays = archive.read(path)
        whole = _description(text)
        flow = _Reader(arrays, functions or {}).value(whole["flow"])
        if not isinstance(flow, Part):
            raise archive.Broken("what it describes is no flow")
        return flow
    except FlowFileError:
        raise
    except (
        archive.Broken,
        GraphadError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as problem:
        what = (
            problem if isinstance(problem, archive.Broken) else f"its parts do not fit: {problem}"
        )
        raise FlowFileError("flows.load", f"the file '{path}' is no flow that can be read",
                            expected="a file of flow.save", got=str(what)[:1000],
                            fix="flow.save(path) again, or another copy") from problem  # fmt: skip


def _description(text: str) -> dict:
    """The JSON of a file, of bounded depth."""
    depth = 0
    for found in BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MOST_NESTED:
            raise archive.Broken(f"its description is nested deeper than {MOST_NESTED}")
    try:
        whole = json.loads(text, parse_constant=_no_constant)
    except ValueError as problem:
        raise archive.Broken(f"its description is no JSON: {problem}") from None
    if not isinstance(whole, dict) or whole.get("format") != "graphad flow":
        raise archive.Broken("it has another format than a flow's")
    if whole.get("version") != VERSION:
        raise archive.Broken(f"it has the version {str(whole.get('version'))[:20]} of the format, "
                             f"and this graphad reads {VERSION}")  # fmt: skip
    if set(whole) != {"format", "version", "flow"}:
        raise archive.Broken("its description has other fields than a flow's")
    return whole


def _no_constant(name):
    raise ValueError(f"{name} is no number of JSON")


class _Writer:
    """Values as JSON; arrays are put aside, and a part that was written is named the next time."""

    def __init__(self, names: dict[int, str]):
        self.names, self.arrays = names, []
        self.parts: dict[int, int] = {}

    def value(self, value, where) -> Any:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, np.integer)):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Part):
            return self.part(value, where)
        if type(value).__name__ in TUPLES:
            items = value if isinstance(value, tuple) else [
                getattr(value, n) for n in value.__dataclass_fields__]  # fmt: skip
            return {"tuple": type(value).__name__, "items": [self.value(v, where) for v in items]}
        if isinstance(value, (tuple, list)):
            return [self.value(v, f"{where}.{k}") for k, v in enumerate(value)]
        if isinstance(value, dict) and all(isinstance(k, str) for k in value):
            return {"dict": {k: self.value(v, f"{where}.{k}") for k, v in value.items()}}
        if isinstance(value, Constant):
            return {"constant": self.value(value.array, where)}
        if isinstance(value, Expression):
            return {"expression": value.tree}
        if isinstance(value, (np.ndarray, np.generic)):
            return self.array(np.asarray(value), where)
        if callable(value):
            return {"function": _name_of(value, self.names, where)}
        raise FlowFileError("flows.save", f"a {type(value).__name__} cannot be written",
                            expected="parts, arrays, numbers, strings and named functions",
                            got=f"{value!r} at {where}"[:200],
                            fix="functions={'name': f}")  # fmt: skip

    def part(self, part, where):
        if id(part) in self.parts:
            return {"same": self.parts[id(part)]}
        kept = [n for n in (*part.children, *part.settings) if n not in part.derived]
        try:
            check_fields(type(part), {n: part.__dict__[n] for n in kept})
        except ValueError as problem:
            raise FlowFileError("flows.save", str(problem), expected="what its constructor makes",
                                got=where,
                                fix="parameters of the right shapes") from None  # fmt: skip
        fields = {n: self.value(part.__dict__[n], f"{where}.{n}") for n in kept}
        self.parts[id(part)] = len(self.parts)
        return {"part": kind_of(type(part)), "fields": fields}

    def array(self, array, where):
        if f"{array.dtype.kind}{array.dtype.itemsize}" not in archive.ALLOWED:
            raise FlowFileError("flows.save", f"an array of {array.dtype} cannot be written",
                                expected="numbers", got=f"{array.dtype} at {where}",
                                fix="array.astype(float)")  # fmt: skip
        self.arrays.append(np.ascontiguousarray(array).reshape(array.shape))
        return {"array": len(self.arrays) - 1}


def _name_of(f, names, where) -> str:
    if id(f) in names:
        return f"given:{names[id(f)]}"
    if isinstance(f, np.ufunc):
        for space in ("numpy", "scipy.special"):
            if _known(f"{space}:{f.__name__}") is f:
                return f"{space}:{f.__name__}"
    for name in ga.special.__all__:
        if getattr(ga.special, name) is f:
            return f"graphad.special:{name}"
    raise FlowFileError("flows.save", "a function of your own has no name that a file can hold",
                        expected="a ufunc of numpy or scipy.special, one of graphad.special, or "
                        "functions=", got=f"{f!r} at {where}"[:200],
                        fix="save(flow, path, functions={'name': f}), and load so")  # fmt: skip


def _known(name: str):
    """The function of a name, among NumPy's and SciPy's ufuncs and `graphad.special`'s own."""
    space, _, rest = name.partition(":")
    if space == "numpy":
        found = getattr(np, rest, None) if rest.isidentifier() else None
        return found if isinstance(found, np.ufunc) else None
    if space == "scipy.special":
        import scipy.special

        found = getattr(scipy.special, rest, None) if rest.isidentifier() else None
        return found if isinstance(found, np.ufunc) else None
    if space == "graphad.special" and rest in ga.special.__all__:
        return getattr(ga.special, rest)
    return None


class _Reader:
    """Values from JSON: each kind that `_Writer` writes, and no other."""

    def __init__(self, arrays, functions):
        self.arrays, self.functions = arrays, functions
        self.parts: list[Part] = []
        self.sizes: list[int] = []
        self.count = 0

    def value(self, value) -> Any:
        if isinstance(value, list):
            return tuple([self.value(v) for v in value])
        if not isinstance(value, dict):
            return value
        kind = next(iter(value), "")
        allowed = {"part": 2, "tuple": 2}.get(kind, 1)
        read = getattr(self, f"_{kind}", None) if kind in READ else None
        if read is None or len(value) != allowed:
            raise archive.Broken(f"its description has a '{kind[:40]}'")
        return read(value[kind], value)

    def _float(self, inner, _):
        if inner not in ("inf", "-inf", "nan"):
            raise archive.Broken("a 'float' is neither an infinity nor nan")
        return float(inner)

    def _array(self, inner, _):
        if type(inner) is not int or not 0 <= inner < len(self.arrays):
            raise archive.Broken("it names an array that it does not have")
        found = self.arrays[inner]
        return found if found.ndim else found[()]

    def _constant(self, inner, _):
        return Constant(self.value(inner))

    def _dict(self, inner, _):
        return {k: self.value(v) for k, v in inner.items()}

    def _expression(self, inner, _):
        try:
            return Expression(checked(inner))
        except ExpressionError as problem:
            raise archive.Broken(str(problem)) from None

    def _function(self, name, _):
        space, _, rest = name.partition(":")
        found = self.functions.get(rest) if space == "given" else _known(name)
        if found is None or not callable(found):
            raise FlowFileError("flows.load", f"the function '{rest[:60]}' is not there",
                                expected="functions={'" + rest[:60] + "': f}",
                                got=", ".join(self.functions) or "none",
                                fix="load(path, functions=...)")  # fmt: skip
        return found

    def _tuple(self, name, value):
        cls, items = TUPLES.get(name), self.value(value.get("items"))
        if cls is None or type(items) is not tuple:
            raise archive.Broken(f"its description has a '{str(name)[:40]}'")
        return cls(*items)

    def _same(self, k, _):
        if type(k) is not int or not 0 <= k < len(self.parts):
            raise archive.Broken("it uses a part again that it does not have")
        self._counted(self.sizes[k])
        return self.parts[k]

    def _part(self, name, value):
        cls, fields = KINDS.get(name), value.get("fields")
        if cls is None or not isinstance(fields, dict):
            raise FlowFileError("flows.load", f"there is no part '{str(name)[:60]}'",
                                got=str(name)[:60],
                                expected="parts of graphad, or classes that are imported",
                                fix="import the module that defines it before")  # fmt: skip
        start = self.count
        self._counted(1)
        made = object.__new__(cls)
        read = {n: self.value(v) for n, v in fields.items()}
        check_fields(cls, read)
        made._set(**read)
        made._loaded()
        self.parts.append(made)
        self.sizes.append(self.count - start)
        return made

    def _counted(self, more: int):
        self.count += more
        if self.count > MOST_PARTS:
            raise archive.Broken(f"it has more than {MOST_PARTS} parts")


READ = {"float", "array", "constant", "dict", "expression", "function", "tuple", "same", "part"}

"""SymPy out: a small graph as sympy expressions, never through strings."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.errors import NotCoveredError
from graphad.graph import Graph
from graphad.op import find
from graphad.spec import Spec, is_static

MOST_ELEMENTS = 2000


def to_sympy(graph: Graph) -> Any:
    """Each output as a sympy expression, or an object array of them; a tuple for several.

    Inputs become symbols, `x` for a scalar and `x[0, 1]` for the elements of an array.
    """
    import sympy

    values: list[Any] = []
    for node in graph.nodes:
        spec = node.spec
        if not isinstance(spec, Spec) or not is_static(spec.shape) or spec.size > MOST_ELEMENTS:
            raise NotCoveredError(
                ".sympy", "only small graphs of static shape are given as expressions",
                where=node.where, expected=f"at most {MOST_ELEMENTS} elements a node",
                got=str(spec), fix="look at .graph instead",
            )  # fmt: skip
        args = [values[a] for a in node.args]
        if node.op.name == "input":
            values.append(_symbols(sympy, str(node.param("name")), spec.shape))
        elif node.op.name == "captured":
            array = graph.captured[node.param("index")]
            values.append(_each(sympy.sympify, [np.asarray(array, object)], spec.shape))
        else:
            values.append(_one(sympy, node, args))
    outputs = [values[o] if values[o].ndim else values[o].item() for o in graph.outputs]
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _symbols(sympy, name, shape):
    if not shape:
        return np.asarray(sympy.Symbol(name, real=True), object)
    out = np.empty(shape, object)
    for place in np.ndindex(*shape):
        out[place] = sympy.Symbol(f"{name}[{', '.join(map(str, place))}]", real=True)
    return out


def _each(f, arrays, shape):
    out = np.empty(shape, object)
    for place in np.ndindex(*shape):
        out[place] = f(*[a[place] for a in arrays])
    return out


def _one(sympy, node, args):
    op, spec = node.op, node.spec
    if op.name == "const":
        value = node.param("value")
        number = sympy.Integer(int(value)) if float(value).is_integer() else sympy.Float(value)
        return _each(lambda: sympy.true if value is True else number, [], spec.shape)
    meanings = {
        "scale": lambda a, b: a * b,
        "convert": lambda a: a,
        "select": lambda c, a, b: sympy.Piecewise((a, c), (b, True)),
        "less": sympy.Lt, "less_equal": sympy.Le, "greater": sympy.Gt,
        "greater_equal": sympy.Ge, "equal": sympy.Eq, "not_equal": sympy.Ne,
        "logical_and": sympy.And, "logical_or": sympy.Or, "logical_not": sympy.Not,
        "logical_xor": sympy.Xor,
    }  # fmt: skip
    meaning = meanings.get(op.name) or op.meaning
    if meaning is not None:
        return _each(meaning, args, spec.shape)
    if op.name in ("reduce_max", "reduce_min"):
        axes = node.param("axes")
        pick = sympy.Max if op.name == "reduce_max" else sympy.Min
        moved = np.moveaxis(args[0], axes, range(-len(axes), 0)).reshape(*spec.shape, -1)
        return _each(lambda row: pick(*row), [_rows(moved)], spec.shape)
    if op.family in ("linear", "bilinear", "linearised", "source") and find(op.name).reference:
        out = op.reference(args, node.options, _ObjectSpec(spec.shape))
        return _each(sympy.sympify, [np.asarray(out, object)], spec.shape)
    raise NotCoveredError(
        ".sympy", f"{op.name} has no sympy expression", where=node.where,
        expected="arithmetic, products, reductions and structure", got=op.name,
        fix="look at .graph instead",
    )  # fmt: skip


def _rows(array):
    out = np.empty(array.shape[:-1], object)
    for place in np.ndindex(*array.shape[:-1]):
        out[place] = tuple(array[place])
    return out


class _ObjectSpec:
    """A shape with dtype object, for the reference functions."""

    dtype = np.dtype(object)

    def __init__(self, shape):
        self.shape = shape

"""Expressions of one number as plain trees, which NumPy evaluates and files hold: no text is run.

A tree is 'x', a number, or a tuple of an operation's name and its operands.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphad as ga
from graphad.errors import GraphadError


class ExpressionError(GraphadError, ValueError):
    """An expression with an operation that is not among `OPERATIONS`."""


def _log_cosh(u):
    return np.abs(u) + np.log1p(np.exp(-2.0 * np.abs(u))) - math.log(2.0)


def _soft_plus(u):
    return np.logaddexp(u, 0)


def _folded(f: Callable) -> Callable:
    """f of two operands for any number of them, from the left."""
    return lambda *operands: functools.reduce(f, operands)


MANY = -1  # operands: two or more
OPERATIONS: dict[str, tuple[int, Callable]] = {
    "add": (MANY, _folded(operator.add)), "mul": (MANY, _folded(operator.mul)),
    "min": (MANY, _folded(np.minimum)), "max": (MANY, _folded(np.maximum)),
    "div": (2, lambda a, b: a / b), "pow": (2, lambda a, b: a**b), "neg": (1, lambda a: -a),
    "where": (3, lambda c, a, b: np.where(c, a, b)),
    "lt": (2, lambda a, b: a < b), "le": (2, lambda a, b: a <= b),
    "gt": (2, lambda a, b: a > b), "ge": (2, lambda a, b: a >= b),
    "sqrt": (1, np.sqrt), "abs": (1, np.abs), "sign": (1, np.sign),
    "exp": (1, np.exp), "log": (1, np.log), "expm1": (1, np.expm1), "log1p": (1, np.log1p),
    "sin": (1, np.sin), "cos": (1, np.cos), "tan": (1, np.tan),
    "asin": (1, np.arcsin), "acos": (1, np.arccos), "atan": (1, np.arctan),
    "sinh": (1, np.sinh), "cosh": (1, np.cosh), "tanh": (1, np.tanh),
    "asinh": (1, np.arcsinh), "acosh": (1, np.arccosh), "atanh": (1, np.arctanh),
    "erf": (1, ga.special.erf), "erfc": (1, ga.special.erfc), "erfinv": (1, ga.special.erfinv),
    "log_cosh": (1, _log_cosh), "soft_plus": (1, _soft_plus),
}  # fmt: skip

OF_SYMPY = {
    "Add": "add", "Mul": "mul", "Min": "min", "Max": "max", "Abs": "abs",
    "LogCosh": "log_cosh", "SoftPlus": "soft_plus", "Log1P": "log1p", "ExpM1": "expm1",
    "StrictLessThan": "lt", "LessThan": "le", "StrictGreaterThan": "gt", "GreaterThan": "ge",
    **{n: n for n in ("exp", "log", "sign", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
                      "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "erfinv")},
}  # fmt: skip


class Expression:
    """A NumPy function of one number for arrays of any shape; equal trees are equal functions."""

    __slots__ = ("_hash", "tree")

    def __init__(self, tree):
        self.tree = tree
        self._hash = hash(tree)

    def __call__(self, x, *unused: Any):
        found = _value(self.tree, x)
        return found if getattr(found, "shape", None) == x.shape else np.full_like(x, 0.0) + found

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        return isinstance(other, Expression) and other.tree == self.tree

    def __reduce__(self):
        return (Expression, (self.tree,))

    def __repr__(self):
        return f"Expression({self.tree!r})"


class Meaning(NamedTuple):
    """What is known of f: its log-slope and inverse as functions, None where they are not."""

    forward: Callable | None
    log_slope: Callable | None
    inverse: Callable | None
    text: str


def _value(tree, x):
    if isinstance(tree, str):
        return x
    if not isinstance(tree, tuple):
        return tree
    return OPERATIONS[tree[0]][1](*[_value(t, x) for t in tree[1:]])


def checked(tree) -> Any:
    """A tree read from a file as one of tuples; ExpressionError where it is none."""
    if tree == "x":
        return tree
    if type(tree) in (int, float) and abs(tree) <= float(np.finfo("f8").max):
        return tree
    if not isinstance(tree, list) or not tree or not isinstance(tree[0], str):
        raise _unknown(str(tree)[:40])
    if tree[0] not in OPERATIONS:
        raise _unknown(tree[0][:40])
    operands = OPERATIONS[tree[0]][0]
    if len(tree) - 1 != operands and not (operands == MANY and len(tree) > 2):
        raise _unknown(f"{tree[0]} of {len(tree) - 1} operands")
    return (tree[0], *map(checked, tree[1:]))


def _unknown(what: str) -> ExpressionError:
    return ExpressionError("expression", "an operation is not known", got=what,
                           expected=", ".join(OPERATIONS),
                           fix="a function of NumPy code")  # fmt: skip


def of_sympy(e: Any, x) -> Any:
    """The tree of a sympy expression of the symbol x; ExpressionError where it has none."""
    if e == x:
        return "x"
    if not e.has(x) and not e.is_Boolean:
        return _number(e)
    name = type(e).__name__
    if e.is_Pow:
        return _power(of_sympy(e.base, x), e.exp, x)
    if e.is_Mul:
        return _ratio(e, x)
    if name == "Piecewise":
        return _pieces(e, x)
    if name not in OF_SYMPY:
        raise _unknown(name)
    return (OF_SYMPY[name], *[of_sympy(a, x) for a in e.args])


def _number(e) -> int | float:
    if getattr(e, "is_Integer", isinstance(e, int)) and abs(int(e)) <= 2**53:
        return int(e)
    try:
        value = float(e)
    except (TypeError, ValueError, OverflowError):
        raise _unknown(str(e)[:40]) from None
    if not math.isfinite(value):
        raise _unknown(str(e)[:40])
    return value


def _power(base, exponent, x) -> Any:
    if exponent.has(x):
        return ("pow", base, of_sympy(exponent, x))
    value = _number(exponent)
    if value < 0:
        return ("div", 1, _power(base, -exponent, x))
    if value == 1:
        return base
    return ("sqrt", base) if value == 0.5 else ("pow", base, value)


def _ratio(e, x) -> Any:
    """A product as one division, so that it is rounded as it is written."""
    above, below, sign = [], [], False
    for a in e.args:
        if a.is_Pow and not a.exp.has(x) and a.exp.is_negative:
            below.append(_power(of_sympy(a.base, x), -a.exp, x))
        elif a == -1:
            sign = True
        elif a.is_Rational and not a.is_Integer:
            above += [_number(a.numerator)] if a.numerator != 1 else []
            below.append(_number(a.denominator))
        else:
            above.append(of_sympy(a, x))
    top = above[0] if len(above) == 1 else ("mul", *above) if above else 1
    if below:
        top = ("div", top, below[0] if len(below) == 1 else ("mul", *below))
    return ("neg", top) if sign else top


def _pieces(e, x) -> Any:
    *first, (last, condition) = e.args
    if condition != True:  # noqa: E712
        raise _unknown("Piecewise without an end")
    found = of_sympy(last, x)
    for value, condition in reversed(first):
        found = ("where", of_sympy(condition, x), of_sympy(value, x), found)
    return found

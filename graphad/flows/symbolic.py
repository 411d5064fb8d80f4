"""Derivative and inverse of a function of one number as expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

import graphad as ga
from graphad.errors import GraphadError
from graphad.flows.expression import Expression, ExpressionError, Meaning, of_sympy
from graphad.flows.monotone import points

LARGEST = 40  # operations of an expression that sympy is asked to solve


def meaning_of(f, params, domain, inverse) -> Meaning:
    """The symbolic side of a function, from an expression or from the trace of a function."""
    expr = _expression(f, params)
    try:
        found = None if expr is None else _found(expr, domain, inverse)
    except ExpressionError:
        if isinstance(f, sympy.Expr):
            raise
        found = None
    if found is None:
        text = "log|f'(x)|, f' by forward mode; inverse " + (
            "as given" if inverse is not None else "by a bracketed Newton iteration"
        )
        return Meaning(None, None, inverse, text)
    return found


def _found(expr, domain, inverse) -> Meaning:
    x: Any = next(iter(expr.free_symbols))
    slope = log_slope(expr.diff(x), x)
    text = f"log|f'(x)| = {slope.subs(x, _symbol('x'))}; inverse "
    if inverse is not None:
        text += "as given"
    else:
        solution = _solved(expr, x, domain)
        if solution is None:
            text += "by a bracketed Newton iteration"
        else:
            branch, y = solution
            text += str(branch.subs(y, _symbol("y")))
            inverse = elementwise(branch, y)
    return Meaning(elementwise(expr, x), elementwise(slope, x), inverse, text)


def _symbol(name):
    return sympy.Symbol(name, real=True)


def _expression(f, params) -> Any:
    """f as an expression of one real symbol, or None."""
    if isinstance(f, sympy.Expr):
        if len(f.free_symbols) != 1:
            from graphad.errors import TraceError

            raise TraceError("Elementwise", "the expression is not one of one symbol",
                             expected="one symbol", fix="f(x, *params) with params=",
                             got=", ".join(sorted(map(str, f.free_symbols))) or "none")  # fmt: skip
        old = next(iter(f.free_symbols))
        return f.subs(old, sympy.Symbol(str(old), real=True))
    if len(params):
        return None
    try:
        expr = ga.function(lambda v: f(v)).lower(ga.spec("", "f8")).sympy
    except GraphadError:
        return None
    if not isinstance(expr, sympy.Expr) or len(expr.free_symbols) != 1:
        return None
    return expr if expr.count_ops() <= 4 * LARGEST else None


class LogCosh(sympy.Function):
    """log cosh u."""

    nargs = 1

    def fdiff(self, argindex=1):
        """Its derivative."""
        return sympy.tanh(self.args[0])


class SoftPlus(sympy.Function):
    """log(1 + exp u)."""

    nargs = 1

    def fdiff(self, argindex=1):
        """Its derivative."""
        (u,) = self.args
        return 1 / (1 + sympy.exp(-u))  # type: ignore[operator]


class Log1P(sympy.Function):
    """log(1 + u)."""

    nargs = 1


class ExpM1(sympy.Function):
    """exp(u) - 1."""

    nargs = 1


INVERSES: dict[Any, Callable] = {
    sympy.exp: sympy.log, sympy.log: sympy.exp, sympy.sinh: sympy.asinh, sympy.asinh: sympy.sinh,
    sympy.tanh: sympy.atanh, sympy.atanh: sympy.tanh, sympy.atan: sympy.tan,
}  # fmt: skip


def log_slope(slope, x):
    """log |slope| in a form that stays finite where the slope overflows or vanishes."""
    if slope.count_ops() <= LARGEST:
        slope = sympy.factor(sympy.together(slope))
    return _log(slope, x)


def _log(e: Any, x) -> Any:
    """log |e|: products as sums, and sums that have safe forms in these."""
    if isinstance(e, sympy.exp):
        return e.args[0]
    if e.is_Mul:
        return sympy.Add(*[_log(a, x) for a in e.args])
    if e.is_Pow and not e.exp.has(x):
        return e.exp * _log(e.base, x)
    if isinstance(e, sympy.cosh):
        return LogCosh(e.args[0])
    if isinstance(e, sympy.Add):
        constant, rest = _independent(e, x, True)
        if constant == 1 and isinstance(rest, sympy.exp):
            return SoftPlus(rest.args[0])
        for sign in (1, -1):  # 1 ± tanh u = 2 / (1 + exp(∓2u)), and 1 - tanh² has both factors
            if sign * constant in (1, -1) and isinstance(sign * constant * rest, sympy.tanh):
                u = (sign * constant * rest).args[0]
                return sympy.log(2) - SoftPlus(-2 * sign * u)
        if abs(constant) == 1 and (rest * constant).is_Mul and -rest * constant == sympy.tanh(
            _inner(rest)) ** 2:  # fmt: skip
            made: Any = LogCosh(_inner(rest))
            return -2 * made
    return sympy.log(sympy.Abs(e))


def _independent(e: Any, x, of_sum: bool) -> Any:
    """The part of a sum or product without x, and the rest."""
    return e.as_independent(x, as_Add=of_sum)


def _inner(e) -> Any:
    """The argument of the only tanh in e, or 0."""
    found = list(e.atoms(sympy.tanh))
    return found[0].args[0] if len(found) == 1 else sympy.S.Zero


def _solved(expr: Any, x, domain) -> Any:
    """(branch, y): the inverse as an expression, where sympy finds one that holds on the domain."""
    if expr.count_ops() > LARGEST:
        return None
    y = sympy.Dummy("y", real=True)
    peeled = _peeled(expr, x, y)
    branches: Any = [] if peeled is None else [peeled]
    if not branches:
        try:
            branches = sympy.solve(sympy.Eq(sympy.nsimplify(expr, rational=True), y), x)
        except (NotImplementedError, ValueError, TypeError, RecursionError):
            return None
    at = points(domain, 41)
    at = at[np.abs(at) < 30]
    for branch in branches:
        if branch.has(sympy.I, sympy.LambertW, sympy.CRootOf) or branch.count_ops() > 2 * LARGEST:
            continue
        branch: Any = sympy.N(branch, 17) if branch.has(sympy.Float) else branch
        try:
            with np.errstate(all="ignore"):
                values = elementwise(expr, x)(at)
                back = elementwise(branch, y)(values)
        except Exception:
            continue
        slope = np.abs(elementwise(expr.diff(x), x)(at))
        room = 1e-9 * (1 + np.abs(at)) + 1e-13 * (1 + np.abs(values)) / np.maximum(slope, 1e-300)
        known = np.isfinite(values) & (room < 1e-3)
        if known.sum() > 10 and np.all(np.abs(back - at)[known] <= room[known]):
            return branch, y
    return None


def _peeled(expr: Any, x, y: Any) -> Any:
    """The inverse of a composition of functions with inverses, from the outermost on, or None.

    Its rounding is that of the inverse functions, which what sympy solves for need not have.
    """
    while expr != x:
        parts: Any = expr.args
        if isinstance(expr, sympy.Add):
            constant, rest = _independent(expr, x, True)
            if constant == 0:
                return None
            if isinstance(rest, sympy.exp) and constant == -1:
                y, expr = Log1P(y), rest.args[0]
                continue
            y, expr = y - constant, rest
        elif expr.is_Mul:
            constant, rest = _independent(expr, x, False)
            if constant == 1:
                return None
            y, expr = y / constant, rest
        elif isinstance(expr, sympy.log) and _one_plus_exp(expr.args[0]) is not None:
            grown: Any = ExpM1(-y)
            y, expr = y + sympy.log(-grown), _one_plus_exp(expr.args[0])
        elif expr.is_Pow and parts[1] == -1 and _one_plus_exp(parts[0]) is not None:
            y, expr = Log1P(-y) - sympy.log(y), _one_plus_exp(parts[0])
        elif expr.func in INVERSES:
            y, expr = INVERSES[expr.func](y), expr.args[0]
        else:
            return None
    return y


def _one_plus_exp(e: Any) -> Any:
    """u, of 1 + exp(u)."""
    constant, rest = e.as_independent(*e.free_symbols, as_Add=True)
    return rest.args[0] if constant == 1 and isinstance(rest, sympy.exp) else None


def elementwise(expr, symbol) -> Expression:
    """A NumPy function of an expression of one symbol; ExpressionError where it has none."""
    return Expression(of_sympy(expr, symbol))

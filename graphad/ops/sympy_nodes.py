"""From a sympy expression to nodes: partial derivatives of table entries, and `from_sympy`."""

from __future__ import annotations

from typing import Any

from graphad.errors import NotCoveredError
from graphad.ops.value import Value, apply, full, select

_NAMES = {
    "exp": "exp", "log": "log", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "Abs": "abs", "sign": "sign", "floor": "floor",
    "StrictLessThan": "less", "LessThan": "less_equal", "StrictGreaterThan": "greater",
    "GreaterThan": "greater_equal", "Equality": "equal", "Unequality": "not_equal",
}  # fmt: skip
_CHAINS = {
    "Add": "add", "Mul": "mul", "Max": "maximum", "Min": "minimum",
    "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip


def build(expression, values: dict[Any, Value]) -> Value:
    """Nodes that compute a sympy expression; `values` maps its symbols to Values.

    Equal subexpressions become one node; no recursion, so deep expressions are fine.
    """
    like = next(iter(values.values()))
    done: dict[Any, Any] = dict(values)
    stack = [expression]
    while stack:
        e = stack[-1]
        if e in done:
            stack.pop()
            continue
        todo = [a for a in _children(e) if a not in done]
        if todo:
            stack.extend(todo)
            continue
        done[e] = _one(e, done, like)
        stack.pop()
    out = done[expression]
    return out if isinstance(out, Value) else full(like, out)


def _children(e):
    if e.func.__name__ == "Piecewise":
        return [part for pair in e.args for part in pair.args]
    return () if e.is_number or e.func.__name__ == "Indexed" else e.args


def _one(e, done, like):
    import sympy

    name = e.func.__name__
    args = [done[a] for a in e.args if a in done]
    if e in (sympy.true, sympy.false):
        return bool(e)
    if e.is_number:
        return float(e) if not e.is_Integer else int(e)
    if name == "Pow":
        base, exponent = e.args
        if exponent == sympy.Rational(1, 2):
            return apply("sqrt", done[base])
        if exponent == sympy.Rational(-1, 2):
            return 1.0 / apply("sqrt", done[base])
        if exponent == -1:
            return apply("div", 1.0, done[base])
        return apply("power", *[a if isinstance(a, Value) else full(like, a) for a in args])
    if name in _CHAINS:
        out = args[0]
        for a in args[1:]:
            out = _combine(_CHAINS[name], out, a, like)
        return out
    if name == "Not":
        return apply("logical_not", args[0])
    if name in _NAMES:
        if not any(isinstance(a, Value) for a in args):
            args[0] = full(like, args[0])
        return apply(_NAMES[name], *args)
    if name == "Heaviside":
        return select(args[0] > 0, 1.0, select(args[0] < 0, 0.0, 0.5))
    if name == "Piecewise":
        out: Any = float("nan")
        for value, condition in reversed(e.args):
            chosen = done[condition]
            if chosen is True:
                out = done[value]
            elif chosen is not False:
                first = done[value]
                first = first if isinstance(first, Value) else full(like, first)
                out = select(chosen, first, out)
        return out
    raise NotCoveredError(
        "from_sympy",
        f"the sympy function {name} is not covered",
        expected="one of " + ", ".join(sorted(_NAMES)),
        got=name,
        fix=f"rewrite the expression without {name}, e.g. by expr.rewrite(sympy.exp)",
    )


def _combine(name, a, b, like):
    if isinstance(a, Value) or isinstance(b, Value):
        return apply(name, a, b)
    return apply(name, full(like, a), b)


def partials_of(meaning):
    """Partials by sympy.diff, made when first needed and kept."""
    kept: list = []

    def partials(*args):
        import sympy

        *xs, _out = args
        if not kept:
            symbols = sympy.symbols(f"x:{len(xs)}", real=True)
            expression = meaning(*symbols)
            kept.append((symbols, [sympy.diff(expression, s) for s in symbols]))
        symbols, derivatives = kept[0]
        values = dict(zip(symbols, xs, strict=True))
        return tuple(build(d, values) for d in derivatives)

    return partials

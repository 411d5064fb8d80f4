"""Everything that is covered, from the table: `python -m graphad operations`."""

from __future__ import annotations

import itertools
import re

import numpy as np

from graphad.bodies.vecspecial import BODIES
from graphad.errors import DerivativeError
from graphad.graph import Builder
from graphad.op import TABLE, Op
from graphad.ops.scalar import asked
from graphad.ops.scipy_functions import FUNCTIONS
from graphad.ops.value import Value, add
from graphad.spec import Spec
from graphad.special import __all__ as special

FAMILIES = {
    "elementwise": "elementwise, by its partials", "linear": "linear, by its transpose",
    "bilinear": "bilinear, by its transposes", "linearised": "by its linearisation",
    "opaque": "none", "control": "that of the graphs inside", "source": "a source",
}  # fmt: skip


def _source(op: Op) -> str:
    """The expression of an operation on floats; empty where it has none."""
    return op.body if isinstance(op.body, str) else (op.body or {}).get("f", "")


def _body(op: Op) -> str:
    """How an elementwise operation is computed."""
    text = _source(op)
    if "special_" in text:
        return "a scalar call"
    return "vectorised" if text else {"routine": "a routine"}.get(op.lowering, op.lowering)


def _accuracy(op: Op) -> str:
    """The bound of the error, in units in the last place."""
    text = _source(op)
    if "special_" in text:
        return "SciPy's"
    words = [w for w in re.findall(r"(\w+)_\{code\}", text) if w in BODIES]
    if not words:
        return "exact" if op.name in ("ceil", "floor", "rint", "trunc") else "rounded once"
    if not re.fullmatch(r"\w+_\{code\}\(\{0\}(, \{1\})?\)", text):
        return "of its steps"
    double, single = op.units
    return f"{double:g}" if double == single else f"{double:g} (f32: {single:g})"


CORNERS = (0.0, -0.0, np.inf, -np.inf)


def _corners(op: Op) -> str:
    """The values at ±0 and ±inf, or for two arguments at each pair of 0 and inf."""
    arity = op.arity or 1
    if arity > 2 or op.takes == "bool":
        return ""
    places = [(c,) for c in CORNERS] if arity == 1 else itertools.product((0.0, np.inf), repeat=2)
    with np.errstate(all="ignore"):
        found = [op.reference([np.float64(c) for c in place], {}, None) for place in places]
    return ", ".join(f"{float(v):.4g}" for v in found)


def _functions() -> list[str]:
    found: dict[str, list[str]] = {}
    for f in TABLE.numpy:
        module = (getattr(f, "__module__", None) or "numpy").replace("numpy", "np")
        if not module.startswith("np"):
            module = "np"
        found.setdefault(module, []).append(getattr(f, "__name__", str(f)))
    lines = []
    for module in sorted(found):
        names = " ".join(sorted(dict.fromkeys(found[module])))
        lines += [f"**{module}**: {names}", ""]
    return lines


def text() -> str:
    """The whole page."""
    lines = [
        "# Operations", "",
        "Written by `python -m graphad operations` from the table of operations.", "",
        "## NumPy's functions", "",
        "Traced as they are, with NumPy 2's dtypes; an argument that is not covered is an error",
        "that says so.", "", *_functions(),
        "## SciPy's functions", "",
        "Traced by their own names, with SciPy's arguments, beside the ufuncs of `scipy.special`.",
        "",
        *(line for module, names in FUNCTIONS.items()
          for line in (f"**{module}**: {' '.join(sorted(names))}", "")),
        "## Special functions", "",
        "Under `ga.special`; those that are ufuncs of `scipy.special` are traced from there too.",
        "",
        " ".join(sorted(special)), "",
        "## Elementwise operations", "",
        "The partials are those that graphs are made with, `f` being the operation's own result;",
        "`where(c, a, b)` is a where c holds. Tests sample the domain, against mpmath and complex",
        "steps. How far values are from the exact ones: [accuracy](accuracy.md). What holds at",
        "kinks, ties and zeros: [derivatives](derivatives.md).",
        "",
        "Accuracy is the largest error in units in the last place, `of its steps` where a formula",
        "is evaluated. At corners: the values at 0, -0, inf and -inf, or for two arguments at",
        "(0, 0), (0, inf), (inf, 0) and (inf, inf).",
        "", "| operation | formula | partials | computed | domain | accuracy | at corners |",
        "|---|---|---|---|---|---|---|",
        *(_elementwise(op) for _, op in sorted(TABLE.ops.items()) if op.partials),
        "",
        "## The other primitives", "",
        "Cost is in additions an element.",
        "", "| operation | derivative | computed | cost |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, op in sorted(TABLE.ops.items()):
        if op.partials is None:
            computed = "" if op.family in ("source", "control") else _body(op)
            lines.append(f"| {name} | {FAMILIES[op.family]} | {computed} | {op.cost} |")
    return "\n".join(lines) + "\n"


def _elementwise(op: Op) -> str:
    arity = op.arity or 1
    names = "xyzuv"[:arity]
    wide = op.domain if len(op.domain) == arity else op.domain * arity
    domain = " x ".join(f"[{a:g}, {b:g}]" for a, b in wide)
    cells = (op.name, f"`{_formula(op, names)}`", _partials(op, names), _body(op), domain,
             _accuracy(op), _corners(op))  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _formula(op: Op, names: str) -> str:
    """The sympy expression of an operation; its name where it has none."""
    if op.meaning is None:
        return f"{op.name}({', '.join(names)})"
    import sympy

    return str(op.meaning(*sympy.symbols(",".join(names) + ",", real=True))).replace("|", "\\|")


def _partials(op: Op, names: str) -> str:
    """The partials that a graph gets, in order; `...` for what would not fit a line."""
    builder = Builder()
    takes_bool = op.takes == "bool" or op.name == "select"
    args = [
        Value(builder, builder.input(Spec((), np.dtype("?" if takes_bool and k == 0 else "f8")), n))
        for k, n in enumerate(names)
    ]
    result = add(args[0], op.name, args)
    assert op.partials is not None
    found = []
    for partial in op.partials(*args, result):
        try:
            partial = asked(partial)
        except DerivativeError:
            found.append("none")
            continue
        text = "0" if partial is None else _text(builder, partial, result.id)
        found.append(f"`{text}`" if len(text) <= LONGEST else "...")
    return ", ".join(found)


LONGEST = 90
INFIX = {"add": "+", "sub": "-", "mul": "*", "scale": "*", "div": "/", "less": "<", "greater": ">",
         "equal": "==", "less_equal": "<=", "greater_equal": ">=", "not_equal": "!="}  # fmt: skip


def _text(builder: Builder, value, result: int) -> str:
    """A node as an expression of the inputs and of the result `f`."""
    if not isinstance(value, Value):
        return f"{value:g}"

    def show(n: int) -> str:
        node = builder.nodes[n]
        name = node.op.name
        if n == result:
            return "f"
        if name == "input":
            return str(node.param("name"))
        if name == "const":
            number = node.param("value")
            return f"{number:g}" if isinstance(number, float) else str(number)
        args = [show(a) for a in node.args]
        if name in ("convert", "broadcast", "alias"):
            return args[0]
        if name == "neg":
            return f"-{args[0]}"
        if name in INFIX:
            return f"({args[0]} {INFIX[name]} {args[1]})"
        return f"{'where' if name == 'select' else name}({', '.join(args)})"

    text = show(value.id)
    return text[1:-1] if text.startswith("(") and _closes_last(text) else text


def _closes_last(text: str) -> bool:
    """Whether the first bracket is closed by the last."""
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return k == len(text) - 1
    return False

"""The reference of everything that is covered, from the table: `python -m graphad reference`."""

from __future__ import annotations

from graphad.op import TABLE, Op
from graphad.special import __all__ as special

FAMILIES = {
    "elementwise": "elementwise, by its partials", "linear": "linear, by its transpose",
    "bilinear": "bilinear, by its transposes", "linearised": "by its linearisation",
    "opaque": "none", "control": "that of the graphs inside", "source": "a source",
}  # fmt: skip


def _body(op: Op) -> str:
    """How an elementwise operation is computed."""
    text = op.body if isinstance(op.body, str) else (op.body or {}).get("f", "")
    if "special_" in text:
        return "a scalar call"
    return "vectorised" if text else {"routine": "a routine"}.get(op.lowering, op.lowering)


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
        "# Reference", "",
        "Written by `python -m graphad reference` from the table of operations.", "",
        "## NumPy's functions", "",
        "Traced as they are, with NumPy 2's dtypes; an argument that is not covered is an error",
        "that says so.", "", *_functions(),
        "## Special functions", "",
        "Under `ga.special`; those that are ufuncs of `scipy.special` are traced from there too.",
        "",
        " ".join(sorted(special)), "",
        "## Primitives", "",
        "What graphs are made of. Cost is in additions an element; tests sample the domain.",
        "", "| operation | derivative | computed | cost | domain |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, op in sorted(TABLE.ops.items()):
        domain = ""
        if op.family == "elementwise":
            wide = op.domain if len(op.domain) == (op.arity or 1) else op.domain * (op.arity or 1)
            domain = " x ".join(f"[{a:g}, {b:g}]" for a, b in wide)
        computed = "" if op.family in ("source", "control") else _body(op)
        lines.append(f"| {name} | {FAMILIES[op.family]} | {computed} | {op.cost} | {domain} |")
    return "\n".join(lines) + "\n"

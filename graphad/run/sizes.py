"""The kernel of sizes: what depends on symbolic dims, written at each call."""

from __future__ import annotations

from graphad import status
from graphad.emit.source import KernelSource, quick
from graphad.run import layout
from graphad.run.image_writer import Writer
from graphad.spec import Dim


def sizes_source(w: Writer) -> KernelSource:
    """The kernel that writes what depends on symbolic dims into a frame."""
    first = w.data[layout.SYMBOLS_AT]
    names = {s: f"d{i}" for s, i in w.symbols.items()}
    lines = ["def kernel(table, start, stop):"]
    lines += [f"    {names[s]} = integer(table, {first + i})" for s, i in w.symbols.items()]
    checks = dict.fromkeys((need, size) for need, size, _ in w.checks)
    for need, size in checks:
        a, b = dim_source(need, names), dim_source(size, names)
        lines.append(f"    if ({b} < 0) | (({a} < 0) & ({b} > 0)):")
        lines.append(f"        return {status.BAD_SLICE}")
    for at, dim in w.computed:
        lines.append(f"    put(table, {at}, {dim_source(dim, names)})")
    return quick("\n".join(lines) + "\n    return 0\n")


def dim_source(dim, names) -> str:
    """A dim as integer arithmetic on the variables of `sizes_source`."""
    if not isinstance(dim, Dim):
        return str(dim)
    return " + ".join("*".join([str(v), *(names[s] for s in k)]) for k, v in dim.terms)

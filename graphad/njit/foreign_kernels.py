"""Foreign functions as kernels: Numba compiles what reads the table and calls them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from graphad.emit.kernel import Kernel
from graphad.emit.routines import declare
from graphad.emit.source import Facts, KernelSource
from graphad.errors import TraceError
from graphad.lower.program import Routine
from graphad.spec import is_static, size_of
from graphad.status import FOREIGN

_KEPT: list[Any] = []  # what Numba compiled lives as long as the process


@declare("external")
def external(region: Routine) -> Kernel:
    """The kernel of a call."""
    callee = region.param("callee")
    specs = (*region.inputs, *region.outputs)
    if not all(is_static(s.shape) for s in specs):
        raise TraceError(callee.name, "a foreign function needs static shapes", where=region.where,
                         expected="numbers", got=", ".join(map(str, specs)),
                         fix="call it without signature=")  # fmt: skip
    shapes = tuple((s.shape, s.dtype.str) for s in specs)
    address = _compiled(callee, shapes)
    pointers = tuple((b, 0) for b in (*region.operands, *region.results))
    source = KernelSource(f"# the foreign function {callee.name}\n", Facts(fails=True))
    return Kernel(source, pointers, (), 0, (region.where,), address=address)


@lru_cache(maxsize=256)
def _compiled(callee, shapes) -> int:
    """The address of kernel(table, start, stop) that calls the function on these shapes."""
    import numba
    from numba import types

    from graphad.njit.frame import as_pointer

    carray: Any = vars(numba)["carray"]
    space: dict[str, Any] = {"carray": carray, "as_pointer": as_pointer, "np": np}
    *inputs, _ = [f"a{k}" for k in range(len(shapes))]
    lines = ["def kernel(table, start, stop):",
             f"    t = carray(as_pointer(table), ({len(shapes)},), np.int64)"]  # fmt: skip
    flat = callee.elementwise
    for k, (shape, dtype) in enumerate(shapes):
        space[f"d{k}"] = np.dtype(dtype)
        shape = (size_of(shape),) if flat or not shape else shape
        lines.append(f"    a{k} = carray(as_pointer(t[{k}]), {shape!r}, d{k})")
    if callee.pointer:
        kind = types.float64(*[types.float64] * len(inputs))
        space["f"] = types.ExternalFunctionPointer(kind, get_pointer=lambda _: callee.pointer)
    else:
        space["f"] = callee.function
    out = f"a{len(inputs)}"
    if flat:
        lines += [f"    for k in range({size_of(shapes[-1][0])}):",
                  f"        {out}[k] = f({', '.join(f'{a}[k]' for a in inputs)})"]  # fmt: skip
    else:
        given = [a if s[0] else f"{a}[0]" for a, s in zip(inputs, shapes, strict=False)]
        place = f"{out}[...]" if shapes[-1][0] else f"{out}[0]"
        lines += ["    try:", f"        {place} = f({', '.join(given)})",
                  "    except Exception:", f"        return {FOREIGN}"]  # fmt: skip
    lines.append("    return 0")
    exec(compile("\n".join(lines), "<graphad external>", "exec"), space)
    made: Any = numba.cfunc(types.int64(types.int64, types.int64, types.int64))(space["kernel"])
    _KEPT.append(made)
    return made.address

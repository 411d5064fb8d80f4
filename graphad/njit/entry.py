"""Entries for `@njit` code: Numba functions that fill a frame, make results and run an image."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphad import status
from graphad.emit.kernel import code_of
from graphad.run import layout


class Operand(NamedTuple):
    """An argument or result: its dtype code and rank; rank -1 is a scalar."""

    code: str
    rank: int


def operand(spec) -> Operand:
    """What an entry needs to know of an argument or result."""
    return Operand(code_of(spec.dtype), spec.ndim if spec.ndim else -1)


def source_of(inputs: tuple[Operand, ...], outputs: tuple[Operand, ...]) -> str:
    """The entry's source: entry(image address, *arguments)."""
    arguments = [f"a{k}" for k in range(len(inputs))]
    results = [f"o{k}" for k, o in enumerate(outputs)]
    lines = [
        "import numpy as np",
        "from graphad.njit.frame import *",
        "",
        f"def entry({', '.join(['image', *arguments])}):",
        "    frame = open_frame(image)",
        "    if frame == 0:",
        f"        fail({status.NO_MEMORY})",
    ]
    at = layout.HEADER
    for name, o in zip(arguments, inputs, strict=True):
        put = "put_scalar" if o.rank < 0 else "put_array"
        lines.append(f"    {put}(frame, {at}, {name})")
        at += layout.input_words(max(o.rank, 0))
    lines += [
        f"    status = run(frame, {layout.PREPARE})",
        "    if status != 0:",
        "        close_frame(frame)",
        "        fail(status)",
    ]
    for name, o in zip(results, outputs, strict=True):
        if o.rank < 0:
            lines.append(f"    put_own(frame, {at})")
        else:
            dims = "".join(
                f"field(frame, {at + layout.OUTPUT_FIELDS + a}), " for a in range(o.rank)
            )
            lines.append(f"    {name} = np.empty(({dims}), np.{dtype_name(o.code)})")
            lines.append(f"    put_address(frame, {at}, {name})")
        at += layout.output_words(max(o.rank, 0))
    lines.append(f"    status = run(frame, {layout.EXECUTE})")
    at = layout.HEADER + sum(layout.input_words(max(o.rank, 0)) for o in inputs)
    for name, o in zip(results, outputs, strict=True):
        if o.rank < 0:
            lines.append(f"    {name} = get_{o.code}(frame, {at + layout.BITS})")
        at += layout.output_words(max(o.rank, 0))
    lines += ["    close_frame(frame)", "    if status != 0:", "        fail(status)"]
    lines.append(f"    return {', '.join(results)}" if results else "    return None")
    return "\n".join(lines) + "\n"


def dtype_name(code: str) -> str:
    """NumPy's name of a dtype code."""
    import numpy

    return "bool_" if code == "b1" else numpy.dtype(code).name


def python_entry(inputs, outputs):
    """The entry as a Python function, for Numba to compile as part of other code."""
    space: dict[str, Any] = {}
    source = source_of(tuple(map(operand, inputs)), tuple(map(operand, outputs)))
    exec(compile(source, "<graphad entry>", "exec"), space)
    return space["entry"]

"""What a kernel is: a source, and what its table holds. And the smallest pieces of sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.emit.loops import LONGEST_UNROLLED
from graphad.emit.source import Facts, KernelSource
from graphad.errors import NOWHERE, Where
from graphad.lower.order import start_of
from graphad.op import find

CLOSE = LONGEST_UNROLLED  # elements between operands that share an address
SPLIT_WORK = 1_500_000  # of a thread, see run/executor.py


@dataclass(frozen=True)
class Kernel:
    """A kernel's source and what its table holds: addresses, then integers.

    `pointers`: (buffer id, offset in elements). `integers`: dims and strides. The kernel runs
    from 0 to `stop` over the loop that threads may share. `lines`: the user's line of each source
    line. `work`: about how many tenths of a nanosecond it takes; 0 when it must not be split.
    `grain`: splits fall on multiples of it. `totals`: sums over everything, of which the kernel
    leaves parts to be combined in order, so that threads change no bit; buffer -1 - k is the
    scratch memory for the parts of the k-th. `address`: a function compiled elsewhere. `blas`: the
    rows of the largest matrix that it gives to BLAS or LAPACK, if it does.
    """

    source: KernelSource
    pointers: tuple[tuple[int, Any], ...]
    integers: tuple[Any, ...]
    stop: Any
    lines: tuple[Where, ...] = ()
    work: Any = 0
    grain: int = 1
    totals: tuple[Total, ...] = ()
    address: int = 0  # of a function compiled elsewhere, in place of the source
    blas: Any = None


@dataclass(frozen=True)
class Total:
    """A reduction whose parts are combined by a kernel of its own."""

    source: KernelSource
    bytes: Any  # of the parts
    pointers: tuple[tuple[int, Any], ...]
    integers: tuple[Any, ...]


@dataclass(frozen=True)
class Inner:
    """The kernels of the programs in a region, one list each."""

    programs: tuple[list, ...]


def code_of(dtype: np.dtype) -> str:
    """The two-letter name of a dtype in kernel sources."""
    return "b1" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"


def literal(value, dtype) -> str:
    """A constant of a dtype as source."""
    code = code_of(dtype)
    if code == "b1":
        return str(bool(value))
    if dtype.kind == "f":
        value = float(value)
    if dtype.kind == "f" and not math.isfinite(value):
        text = "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
        return f"{code}({text})"
    return f"{code}({value!r})"


def identity(reduce: str, dtype) -> str:
    """The start of a reduction, as source."""
    return literal(start_of(reduce, dtype), dtype)


def combine(reduce: str, a: str, b: str) -> str:
    """One step of a reduction: a is the running value."""
    if reduce in ("sum", "scan"):
        return f"{a} + {b}"
    if reduce == "prod":
        return f"{a} * {b}"
    order = ">" if reduce == "max" else "<"
    return f"({b} if (({b} {order} {a}) | ({b} != {b})) else {a})"


def expression(op_name: str, arguments: list[str], operand: np.dtype, result: np.dtype) -> str:
    """The source of one elementwise operation."""
    op = find(op_name)
    body = op.body if isinstance(op.body, str) else op.body[operand.kind]  # type: ignore
    number = 0.0 if operand.kind == "f" else 0
    one = 1.0 if operand.kind == "f" else 1
    text = body.format(
        *arguments,
        zero=literal(number, operand),
        one=literal(one, operand),
        log2=literal(math.log(2), operand) if operand.kind == "f" else "",
        cast=code_of(result),
        code=code_of(operand),
        bits=8 * operand.itemsize,
    )
    return f"{code_of(result)}({text})" if result.kind in "iu" and result.itemsize < 8 else text


class Operands:
    """What a kernel's table holds, as its source comes to need it."""

    def __init__(self):
        self.pointers: list[tuple[int, Any]] = []
        self.integers: list[Any] = []
        self.integer_names: dict[Any, str] = {}
        self.fails = False  # whether the kernel that reads it may come to a status

    def pointer(self, buffer: int, offset) -> tuple[str, int]:
        """The name of an operand's address, and what is left of the offset.

        Close neighbours share an address, so that LLVM sees that they are neighbours.
        """
        for k, (known, base) in enumerate(self.pointers):
            if known != buffer:
                continue
            if base == offset:
                return f"p{k}", 0
            if isinstance(base, int) and isinstance(offset, int) and abs(offset - base) <= CLOSE:
                return f"p{k}", offset - base
        self.pointers.append((buffer, offset))
        return f"p{len(self.pointers) - 1}", 0

    def integer(self, value, use: str) -> str:
        """The name of a dim or stride that the table holds; `use` keeps different roles apart."""
        key = (use, value)
        if key not in self.integer_names:
            self.integer_names[key] = f"n{len(self.integers)}"
            self.integers.append(value)
        return self.integer_names[key]

    def head(self) -> list[str]:
        """The first lines of a kernel."""
        return ["def kernel(table, start, stop):", "    wide_vectors()", *self.reads()]

    def reads(self) -> list[str]:
        """The lines that read the table."""
        first = len(self.pointers)
        head = [f"    p{k} = integer(table, {k})" for k in range(first)]
        return head + [f"    n{k} = integer(table, {first + k})" for k in range(len(self.integers))]


def finished(lines, operands: Operands, stop, work, grain=1, totals=()) -> Kernel:
    """A kernel from its lines and operands."""
    code = "\n".join(text for text, _ in lines) + "\n    return 0\n"
    wheres = (*[where for _, where in lines], NOWHERE)
    pointers, integers = tuple(operands.pointers), tuple(operands.integers)
    source = KernelSource(code, Facts(fails=operands.fails))
    return Kernel(source, pointers, integers, stop, wheres, work, grain, totals)

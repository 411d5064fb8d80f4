"""Kernels written by hand, for what is no loop over independent points: sorting and searching.

Each is a source in the kernel language with the table: addresses of operands, results and scratch
memory, then sizes. A kernel runs over rows, which threads may share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphad.emit.kernel import Kernel, code_of
from graphad.emit.source import Facts, KernelSource
from graphad.lower.program import Routine
from graphad.spec import size_of

ROUTINES: dict[str, Callable[[Routine], Kernel]] = {}


def declare(name: str):
    """Register the kernel of an operation."""

    def put(f):
        ROUTINES[name] = f
        return f

    return put


def routine(region: Routine) -> Kernel:
    """The kernel of a routine."""
    return ROUTINES[region.name](region)


def by_rows(region: Routine, code: str, sizes, rows, work_of_row, grain=1, fails=False) -> Kernel:
    """A kernel over rows, of so many tenths of a nanosecond each."""
    buffers = (*region.operands, *region.results, *region.scratch)
    lines = tuple([region.where] * (code.count("\n") + 1))
    source = KernelSource(code, Facts(fails=fails))
    pointers = tuple((b, 0) for b in buffers)
    return Kernel(source, pointers, tuple(sizes), rows, lines, rows * work_of_row, grain)


# -- sort ----------------------------------------------------------------------------------------
# Keys are unsigned integers in the order of the elements; nan is made the largest, -0 is 0.
KEYS = {
    "f8": """\
            bits = peek_u8(x, k)
            size = bits & u8(0x7FFFFFFFFFFFFFFF)
            bits = u8(0) if size == u8(0) else bits
            top = u8(1) << u8(63)
            flipped = bits ^ (u8(0xFFFFFFFFFFFFFFFF) if bits >= top else top)
            key = u8(0xFFFFFFFFFFFFFFFF) if size > u8(0x7FF0000000000000) else flipped
""",
    "f4": """\
            bits = u8(peek_u4(x, k))
            size = bits & u8(0x7FFFFFFF)
            bits = u8(0) if size == u8(0) else bits
            flipped = bits ^ (u8(0xFFFFFFFF) if bits >> u8(31) != u8(0) else u8(1) << u8(31))
            key = u8(0xFFFFFFFF) if size > u8(0x7F800000) else flipped
""",
}
DIGIT = 11  # bits of a digit of the radix sort
SHORT = 1024  # elements below which rows are merged


def _keys(code: str) -> tuple[str, int]:
    """(source of a key, its bits) of a dtype."""
    if code in KEYS:
        return KEYS[code], 8 * int(code[1])
    bits = 8 * int(code[1])
    if code[0] in "ub":
        return f"            key = u8(peek_{code.replace('b', 'u')}(x, k))\n", bits
    sign = f"u8(0x{1 << (bits - 1):X})"
    mask = f"u8(0x{(1 << bits) - 1:X})"
    return f"            key = (u8(i8(peek_{code}(x, k))) & {mask}) ^ {sign}\n", bits


_SWAP = """\
                swap = a
                a = c
                c = swap
                swap = b
                b = d_
                d_ = swap
"""  # what is sorted so far, with the memory for the next round


def _by_digits(bits: int) -> str:
    """Sort (keys, order) by one digit after another, from one place to the other and back."""
    lines = []
    for shift in range(0, bits, DIGIT):
        lines.append(f"""\
            fill_zero(counts, {8 << DIGIT})
            for k in range(n):
                digit = i8((peek_u8(a, k) >> u8({shift})) & u8({(1 << DIGIT) - 1}))
                keep_i8(counts, digit, peek_i8(counts, digit) + 1)
            digit = i8((peek_u8(a, 0) >> u8({shift})) & u8({(1 << DIGIT) - 1}))
            if peek_i8(counts, digit) != n:
                total = 0
                for d in range({1 << DIGIT}):
                    count = peek_i8(counts, d)
                    keep_i8(counts, d, total)
                    total = total + count
                for k in range(n):
                    value = peek_u8(a, k)
                    digit = i8((value >> u8({shift})) & u8({(1 << DIGIT) - 1}))
                    to = peek_i8(counts, digit)
                    keep_i8(counts, digit, to + 1)
                    keep_u8(c, to, value)
                    keep_i8(d_, to, peek_i8(b, k))
{_SWAP}""")
    return "".join(lines)


_MERGE = """\
            for first in range(0, n, 16):
                last = min(first + 16, n)
                for k in range(first + 1, last):
                    value = peek_u8(a, k)
                    item = peek_i8(b, k)
                    to = k
                    while to > first and peek_u8(a, to - 1) > value:
                        keep_u8(a, to, peek_u8(a, to - 1))
                        keep_i8(b, to, peek_i8(b, to - 1))
                        to = to - 1
                    keep_u8(a, to, value)
                    keep_i8(b, to, item)
            width = 16
            while width < n:
                for first in range(0, n, 2 * width):
                    i = first
                    middle = min(first + width, n)
                    j = middle
                    last = min(first + 2 * width, n)
                    for k in range(first, last):
                        left = j >= last
                        if i < middle and j < last:
                            left = peek_u8(a, i) <= peek_u8(a, j)
                        if left:
                            keep_u8(c, k, peek_u8(a, i))
                            keep_i8(d_, k, peek_i8(b, i))
                            i = i + 1
                        else:
                            keep_u8(c, k, peek_u8(a, j))
                            keep_i8(d_, k, peek_i8(b, j))
                            j = j + 1
"""
_MERGE += (
    _SWAP
    + """\
                width = 2 * width
"""
)


@declare("sort")
def _sort(region: Routine) -> Kernel:
    """Rows by merging if they are short, else digit by digit (LSD radix sort); both are stable."""
    spec = region.inputs[0]
    code, n = code_of(spec.dtype), spec.shape[-1]
    key, bits = _keys(code)
    plain = code.replace("b", "u")
    source = f"""\
def kernel(table, start, stop):
    n = integer(table, 6)
    counts = stack({8 << DIGIT})
    for row in range(start, stop):
        x = integer(table, 0) + row * n * {spec.dtype.itemsize}
        values = integer(table, 1) + row * n * {spec.dtype.itemsize}
        order = integer(table, 2) + row * n * 8
        a = integer(table, 3) + row * n * 8
        b = order
        c = integer(table, 4) + row * n * 8
        d_ = integer(table, 5) + row * n * 8
        for k in range(n):
{key}            keep_u8(a, k, key)
            keep_i8(b, k, k)
        if n < {SHORT}:
{_MERGE}        else:
{_by_digits(bits)}        if b != order:
            copy_bytes(order, b, 8 * n)
        for k in range(n):
            keep_{plain}(values, k, peek_{plain}(x, peek_i8(order, k)))
    return 0
"""
    rows = size_of(spec.shape[:-1])
    return by_rows(region, source, (n,), rows, n * 200)


# -- searchsorted --------------------------------------------------------------------------------
@declare("searchsorted")
def _searchsorted(region: Routine) -> Kernel:
    """Bisection; nan stands behind all numbers."""
    a, v = region.inputs
    code = code_of(a.dtype)
    left = region.param("side") == "left"
    # Whether the place is to the right of element y.
    test = "(y < x)" if left else "(y <= x)"
    nan = ""
    if a.dtype.kind == "f":
        nan = " | ((x != x) & (y == y))" if left else " | (x != x)"
    source = f"""\
def kernel(table, start, stop):
    n = integer(table, 3)
    m = integer(table, 4)
    for k in range(start, stop):
        row = integer(table, 0) + (k // m) * n * {a.dtype.itemsize}
        x = peek_{code}(integer(table, 1), k)
        low = 0
        high = n
        while low < high:
            middle = (low + high) // 2
            y = peek_{code}(row, middle)
            right = {test}{nan}
            low = middle + 1 if right else low
            high = high if right else middle
        keep_i8(integer(table, 2), k, low)
    return 0
"""
    each = size_of(v.shape[len(a.shape) - 1 :])
    total = size_of(v.shape)
    return by_rows(region, source, (a.shape[-1], each), total, 300)


# -- correlate -----------------------------------------------------------------------------------
PIECE = 2048  # results at a time, which stay in the nearest cache


@declare("correlate")
def _correlate(region: Routine) -> Kernel:
    """Sums of shifted rows, each times one weight, a piece of the result at a time."""
    a, v = region.inputs
    out = region.outputs[0]
    code, item = code_of(a.dtype), a.dtype.itemsize
    if a.dtype.kind == "f":
        inner = f"            weighted_columns_{code}(x, at, 1, y, 0, 1, m, to, at, size)\n"
    else:
        inner = f"""\
            for k in range(at, at + size):
                total = {code}(0)
                for r in range(m):
                    total = {code}(total + {code}(peek_{code}(x, k + r) * peek_{code}(y, r)))
                keep_{code}(to, k, total)
"""
    source = f"""\
def kernel(table, start, stop):
    n = integer(table, 3)
    m = integer(table, 4)
    count = integer(table, 5)
    pieces = integer(table, 6)
    for k in range(start, stop):
        row = k // pieces
        x = integer(table, 0) + row * n * {item}
        y = integer(table, 1) + row * m * {item}
        to = integer(table, 2) + row * count * {item}
        at = (k % pieces) * {PIECE}
        size = min({PIECE}, count - at)
        if size > 0:
{inner}    return 0
"""
    n, m, count = a.shape[-1], v.shape[-1], out.shape[-1]
    pieces: Any = (count + PIECE - 1) // PIECE if isinstance(count, int) else 1
    if not isinstance(count, int):  # one piece of unknown length
        source = source.replace(f"min({PIECE}, count - at)", "count")
    rows = size_of(a.shape[:-1]) * pieces
    each = min(count, PIECE) * m if isinstance(count, int) else count * m
    return by_rows(region, source, (n, m, count, pieces), rows, each)

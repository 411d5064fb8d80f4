"""What kernels on the GPU are written in, beside the words that they share with the CPU.

All of it is in the kernel language: functions that a source calls, and the one that runs a kernel
for each of its steps. Of the GPU itself they need `lane lanes block blocks barrier` and memory that
a block shares. The simulator has every word in Python.
"""

from __future__ import annotations

import ctypes
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np

from graphad.emit.gpu import LARGEST_TEAM
from graphad.emit.kernel import combine
from graphad.emit.source import KernelSource
from graphad.lower.order import BLOCK
from graphad.op import TABLE, find
from graphad.ops.special_functions import mills_ratio

CODES = ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")

# A step by a thread, or by a block; what went wrong is noted with the number of the launch.
ALONE = "block() * lanes() + lane(), steps, blocks() * lanes()"
TOGETHER = "block(), steps, blocks()"
ENTRY = """\
def entry(table: i8, steps: i8, grain: i8, stop: i8, failed: i8, mark: i8) -> i8:
    for k in range({steps}):
        status = kernel(table, k * grain, min(stop, (k + 1) * grain))
        if status != 0:
            keep_i8(failed, 0, status + mark)
    return 0
"""


def entry_source(source: KernelSource) -> str:
    """The function that runs a kernel for its steps."""
    return ENTRY.format(steps=TOGETHER if source.facts.team else ALONE)


# Where there is no cuBLAS: one element of the result by each thread. The table has the sizes, then
# how far rows are apart, then the steps of the batch.
PRODUCT = """\
def kernel(table, start, stop):
    a = integer(table, 0)
    b = integer(table, 1)
    c = integer(table, 2)
    m = integer(table, 3)
    n = integer(table, 4)
    depth = integer(table, 5)
    for k in range(start, stop):
        one = k // (m * n)
        row = k // n % m
        column = k % n
        at_a = one * integer(table, 12) + row * integer(table, 6)
        at_b = one * integer(table, 13) + column * integer(table, 9)
        total = {code}(0.0)
        for d in range(depth):
            x = peek_{code}(a, at_a + d * integer(table, 7))
            y = peek_{code}(b, at_b + d * integer(table, 8))
            total = total + x * y
        keep_{code}(c, one * integer(table, 14) + row * integer(table, 10) + column, total)
    return 0
"""


def product_source(itemsize: int) -> KernelSource:
    """The product for floats of so many bytes."""
    return KernelSource(PRODUCT.replace("{code}", f"f{itemsize}"))


def product_sizes(region) -> tuple:
    """The integers of PRODUCT's table."""
    a_lead, b_lead, c_lead = region.leads
    a = (1, a_lead) if region.a_turned else (a_lead, 1)  # to the next row, to the next of depth
    b = (1, b_lead) if region.b_turned else (b_lead, 1)  # to the next of depth, to the next column
    return (region.m, region.n, region.k, *a, *b, c_lead, 0, *region.steps)


# -- functions that sources call -------------------------------------------------------------------
# A tree over the threads of a block, the same for every run; all of them get the result.
_TEAM = """\
def {name}(mine: {code}) -> {code}:
    kept = shared_{code}()
    here = lane()
    keep_{code}(kept, here, mine)
    barrier()
    half = lanes() >> 1
    while half > 0:
        if here < half:
            a = peek_{code}(kept, here)
            b = peek_{code}(kept, here + half)
            keep_{code}(kept, here, {combined})
        barrier()
        half = half >> 1
    whole = peek_{code}(kept, 0)
    barrier()
    return whole
"""
# What routines find by a symbol on the CPU, or in the C library.
_REDUCE = """\
def {name}(first: {code}, address: i8, m: i8) -> {code}:
    out = first
    for k in range(m):
        x = peek_{code}(address, k)
        out = {combined}
    return out
"""
_COLUMNS = """\
def {name}(x: i8, i: i8, x_step: i8, y: i8, j: i8, y_step: i8, m: i8, out: i8, k: i8,
           count: i8) -> i8:
    for n in range(count):
        total = {code}(0.0)
        for r in range(m):
            total = total + peek_{code}(x, i + r * x_step + n) * peek_{code}(y, j + r * y_step)
        keep_{code}(out, k + n, total)
    return 0
"""
_BYTES = {
    "copy_bytes": """\
def copy_bytes(to: i8, source: i8, size: i8) -> i8:
    for k in range(size):
        keep_u1(to, k, peek_u1(source, k))
    return 0
""",
    "fill_zero": """\
def fill_zero(to: i8, size: i8) -> i8:
    for k in range(size):
        keep_u1(to, k, u1(0))
    return 0
""",
}


_REDUCED = re.compile(r"(?:sum|prod|max|min)_[fiu][1248]")
_WEIGHTED = re.compile(r"weighted_columns_f[48]")


def device_functions(source: KernelSource) -> dict[str, str]:
    """The functions that a source calls."""
    found = {name: text for name, text in _BYTES.items() if name in source.words}
    for name in source.calls("team_"):
        _, kind, code = name.split("_")
        found[name] = _TEAM.format(name=name, code=code, combined=combine(kind, "a", "b"))
    for name in filter(_REDUCED.fullmatch, source.calls("sum_", "prod_", "max_", "min_")):
        kind, code = name.split("_")
        found[name] = _REDUCE.format(name=name, code=code, combined=combine(kind, "out", "x"))
    for name in filter(_WEIGHTED.fullmatch, source.calls("weighted_columns_f")):
        found[name] = _COLUMNS.format(name=name, code=name[-2:])
    return found


# -- the simulator's words -------------------------------------------------------------------------
# Sources, since the simulator puts its own `cuda` among the globals of what it runs; each is a file
# of its own, since it knows shared arrays by file and line.
SIMULATED = {
    "lane": "def lane(): return cuda.threadIdx.x",
    "lanes": "def lanes(): return cuda.blockDim.x",
    "block": "def block(): return cuda.blockIdx.x",
    "blocks": "def blocks(): return cuda.gridDim.x",
    "barrier": "def barrier(): cuda.syncthreads()",
} | {
    f"shared_{c}": f"def shared_{c}(): return cuda.shared.array({LARGEST_TEAM}, {c}).ctypes.data"
    for c in CODES if c != "b1"
}  # fmt: skip


def own_memory(source: KernelSource) -> list[tuple[str, int]]:
    """(word, bytes) of what a block keeps for itself."""
    return [(word, int(word.rpartition("_")[2])) for word in source.calls("own_")]


def simulated_sources(source: KernelSource) -> dict[str, str]:
    """The sources of what needs the simulator."""
    return SIMULATED | {
        name: f"def {name}(): return cuda.shared.array({size}, u1).ctypes.data"
        for name, size in own_memory(source)
    }  # fmt: skip


_C = {"f8": ctypes.c_double, "f4": ctypes.c_float, "b1": ctypes.c_uint8} | {
    f"{kind}{n}": getattr(ctypes, f"c_{'u' if kind == 'u' else ''}int{8 * n}")
    for kind in "iu" for n in (1, 2, 4, 8)
}  # fmt: skip
_KEPT: list[Any] = []  # memory of blocks: the simulator is for small tests


def type_of(code: str):
    """The Python or NumPy type that a code names."""
    return bool if code == "b1" else getattr(np, np.dtype(code).name)


def _load(code: str):
    kind, size, made = _C[code], ctypes.sizeof(_C[code]), type_of(code)
    return lambda address, k: made(kind.from_address(int(address) + int(k) * size).value)


def _store(code: str):
    kind, size = _C[code], ctypes.sizeof(_C[code])

    def store(address, k, value):
        kind.from_address(int(address) + int(k) * size).value = value.item() if hasattr(
            value, "item") else value  # fmt: skip

    return store


def _memory(size: int) -> int:
    held = ctypes.create_string_buffer(int(size) + 64)
    _KEPT.append(held)
    return ctypes.addressof(held) + 64 - ctypes.addressof(held) % 64


def _bodies() -> dict[str, Any]:
    """The arithmetic bodies, by the references of the operations that name them."""
    found: dict[str, Any] = {}
    for op in TABLE.ops.values():
        body = op.body if isinstance(op.body, str) else (op.body or {}).get("f", "")
        match = re.fullmatch(r"(\w+)_\{code\}\(([^()]*)\)", body)
        if match:
            found[match[1]] = lambda *xs, f=op.reference: f(xs, {}, None)
    return found | {
        "rem": np.fmod, "mod": np.remainder, "floordiv": np.floor_divide, "pow": np.power,
        "copysign": np.copysign, "log_ratio": lambda x, y: np.log(x) - np.log(y),
        "softplus": lambda x: np.logaddexp(x, type(x)(0)), "mills_ratio": mills_ratio,
    }  # fmt: skip


@lru_cache(maxsize=1)
def simulated_words() -> dict[str, Any]:
    """Every word of kernels but those that need the simulator, as Python functions."""
    words: dict[str, Any] = {
        "integer": _load("i8"), "put": _store("i8"), "wide_vectors": lambda: None,
        "stack": _memory, "math": math, "over": lambda a, b: a // b,
    }  # fmt: skip
    for code in CODES:
        words[code] = type_of(code)
        for name in ("load", "peek", "read"):
            words[f"{name}_{code}"] = _load(code)
        for name in ("store", "keep", "write"):
            words[f"{name}_{code}"] = _store(code)
        words[f"block_{code}"] = lambda c=code: _memory(BLOCK * ctypes.sizeof(_C[c]))
    for code in ("u8", "u4"):
        rule = find(f"random_{code}").reference
        words[f"philox_{code}"] = lambda *xs, f=rule: f(xs, {}, None)[()]
    for code in ("f8", "f4"):
        for name, body in _bodies().items():
            words[f"{name}_{code}"] = lambda *xs, f=body, t=words[code]: t(f(*xs))
    return words

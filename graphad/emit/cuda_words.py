"""What kernels on the GPU are written in, beside the words that they share with the CPU.

Device functions stand for what CPU code finds by a symbol; the simulator has all words in Python.
"""

from __future__ import annotations

import ctypes
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np

from graphad.emit.kernel import BLOCK
from graphad.op import TABLE, find

CODES = ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")
__all__ = ["BLOCK", "CODES", "FILL", "PRODUCT", "device_sources", "product_sizes",
           "simulated_words"]  # fmt: skip

FILL = """\
def kernel(table, start, stop):
    for k in range(start, stop):
        keep_u1(integer(table, 0), k, u1(0))
    return 0
"""

# One element of the result by each thread: sizes, then rows apart and steps of the batch.
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


def product_sizes(region) -> tuple:
    """The integers of PRODUCT's table."""
    a_lead, b_lead, c_lead = region.leads
    a = (1, a_lead) if region.a_turned else (a_lead, 1)  # to the next row, to the next of depth
    b = (1, b_lead) if region.b_turned else (b_lead, 1)  # to the next of depth, to the next column
    return (region.m, region.n, region.k, *a, *b, c_lead, 0, *region.steps)


_REDUCE = """\
def {name}(first, address, m):
    out = first
    for k in range(m):
        x = peek_{code}(address, k)
        {step}
    return out
"""
_STEPS = {
    "sum": "out = out + x", "prod": "out = out * x",
    "max": "out = x if ((x > out) | (x != x)) else out",
    "min": "out = x if ((x < out) | (x != x)) else out",
}  # fmt: skip
_ROWS = """\
def {name}(x, i, x_step, y, j, m, out, k, out_step, count):
    for r in range(count):
        total = {code}(0.0)
        for n in range(m):
            total = total + peek_{code}(x, i + r * x_step + n) * peek_{code}(y, j + n)
        keep_{code}(out, k + r * out_step, total)
"""
_COLUMNS = """\
def {name}(x, i, x_step{more}, m, out, k, count):
    for n in range(count):
        total = {code}(0.0)
        for r in range(m):
            total = total + peek_{code}(x, i + r * x_step + n){times}
        keep_{code}(out, k + n, total)
"""


def device_sources(source: str) -> dict[str, str]:
    """The device functions that a source calls."""
    found = {}
    for name in set(re.findall(r"\b(?:chain_)?(?:sum|prod|max|min)_[fiu][1248]\b", source)):
        *_, kind, code = name.split("_")
        found[name] = _REDUCE.format(name=name, code=code, step=_STEPS[kind])
    for code in ("f8", "f4"):
        for name in set(re.findall(rf"\brows_(?:\d+_)?{code}\b", source)):
            found[name] = _ROWS.format(name=name, code=code)
        for name in set(re.findall(rf"\b(?:weighted_)?columns_(?:\d+_)?{code}\b", source)):
            weighted = name.startswith("weighted")
            found[name] = _COLUMNS.format(
                name=name, code=code, more=", y, j, y_step" if weighted else "",
                times=f" * peek_{code}(y, j + r * y_step)" if weighted else "",
            )  # fmt: skip
    return found


# -- the simulator's words -------------------------------------------------------------------------
_C = {"f8": ctypes.c_double, "f4": ctypes.c_float, "b1": ctypes.c_uint8} | {
    f"{kind}{n}": getattr(ctypes, f"c_{'u' if kind == 'u' else ''}int{8 * n}")
    for kind in "iu" for n in (1, 2, 4, 8)
}  # fmt: skip
_KEPT: list[Any] = []  # memory of blocks: the simulator is for small tests


def _load(code: str):
    kind, size = _C[code], ctypes.sizeof(_C[code])
    made = bool if code == "b1" else getattr(np, np.dtype(code).name)
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
        "softplus": lambda x: np.logaddexp(x, type(x)(0)),
    }  # fmt: skip


@lru_cache(maxsize=1)
def simulated_words() -> dict[str, Any]:
    """Every word of loop kernels but those of `device_sources`, as Python functions."""
    words: dict[str, Any] = {
        "integer": _load("i8"), "put": _store("i8"), "wide_vectors": lambda: None,
        "stack": _memory, "math": math,
    }  # fmt: skip
    for code in CODES:
        for name in ("load", "peek", "read"):
            words[f"{name}_{code}"] = _load(code)
        for name in ("store", "keep", "write"):
            words[f"{name}_{code}"] = _store(code)
        words[f"block_{code}"] = lambda c=code: _memory(BLOCK * ctypes.sizeof(_C[c]))
    for code in ("u8", "u4"):
        rule = find(f"random_{code}").reference
        words[f"philox_{code}"] = lambda *xs, f=rule: f(xs, {}, None)[()]
    for code in ("f8", "f4"):
        words[code] = getattr(np, np.dtype(code).name)
        for name, body in _bodies().items():
            words[f"{name}_{code}"] = lambda *xs, f=body, t=words[code]: t(f(*xs))
    return words

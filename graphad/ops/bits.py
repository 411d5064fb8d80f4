"""Bits of integers: and, or, xor, not and shifts; of bools, NumPy's same functions are logic."""

from __future__ import annotations

import numpy as np

from graphad.errors import DTypeError
from graphad.op import TABLE
from graphad.ops.scalar import elementwise
from graphad.ops.value import Value, convert, operator, promoted

LOGIC = {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
         "invert": "logical_not"}  # fmt: skip


def bits(name: str, *operands):
    """An operation on bits of integers, or the one of logic where all operands are bools."""
    for x in operands:
        if isinstance(x, (str, dict, set, type(None))):
            return NotImplemented
    values = promoted(name, operands)
    if values[0].dtype.kind == "b":
        values = values if name in LOGIC else [convert(v, "i1") for v in values]
        name = LOGIC.get(name, name)
    elif values[0].dtype.kind == "f":
        raise DTypeError(
            name, "floats have no bits to work on", expected="integers or bools",
            got=str(values[0].dtype), fix="cast them first: x.astype('int64')",
        )  # fmt: skip
    return operator(name, *values)


def _declare(ufunc, body: str | dict[str, str], **more):
    name = ufunc.__name__
    elementwise(name, ufunc, body, family="opaque", **more)
    TABLE.numpy[ufunc] = lambda *xs: bits(name, *xs)


_declare(np.bitwise_and, "({0} & {1})")
_declare(np.bitwise_or, "({0} | {1})")
_declare(np.bitwise_xor, "({0} ^ {1})")
_declare(np.invert, "({0} ^ (-{one}))")
# A shift by as many bits as there are, or more, leaves none; of a negative number all are set.
_INSIDE = "({1} if (({1} >= {zero}) & ({1} < {code}({bits}))) else {zero})"
_OUTSIDE = "(({1} < {zero}) | ({1} >= {code}({bits})))"
_declare(np.left_shift, f"({{zero}} if {_OUTSIDE} else ({{0}} << {_INSIDE}))", takes="number")
_declare(
    np.right_shift,
    {"i": f"((-{{one}} if {{0}} < {{zero}} else {{zero}}) if {_OUTSIDE} else "
          f"({{0}} >> {_INSIDE}))",
     "u": f"({{zero}} if {_OUTSIDE} else ({{0}} >> {_INSIDE}))"},
    takes="number",
)  # fmt: skip


def _operators():
    """Python's operators on traced values."""
    for symbol, name in (("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"),
                         ("lshift", "left_shift"), ("rshift", "right_shift")):  # fmt: skip
        setattr(Value, f"__{symbol}__", lambda x, y, _n=name: bits(_n, x, y))
        setattr(Value, f"__r{symbol}__", lambda x, y, _n=name: bits(_n, y, x))
    Value.__invert__ = lambda x: bits("invert", x)  # type: ignore[attr-defined]


_operators()

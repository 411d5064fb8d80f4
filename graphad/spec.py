"""Spec: the shape and dtype of a value, with symbolic dims; broadcasting and promotion as NumPy 2.

A dim is an `int`, or a `Dim`: a polynomial with integer coefficients in named symbols, so that
`n`, `n + 1`, `3*n` and `n*m` stay exact without sympy's cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.errors import DTypeError, ShapeError, TraceError


class Dim:
    """A polynomial in symbols: {('n',): 3, (): 1} is 3*n + 1. Immutable and hashable.

    Every symbol stands for an integer >= 0. Sums and products with a constant value collapse
    to `int`, so a static dim is always a plain int.
    """

    __slots__ = ("terms",)

    def __init__(self, terms):
        self.terms = tuple(sorted((k, v) for k, v in dict(terms).items() if v))

    @staticmethod
    def symbol(name: str) -> Dim:
        """The dim called `name`."""
        return Dim({(name,): 1})

    @staticmethod
    def _terms(value):
        if isinstance(value, Dim):
            return dict(value.terms)
        return {(): int(value)} if value else {}

    @staticmethod
    def _made(terms):
        dim = Dim(terms)
        if not dim.terms:
            return 0
        if len(dim.terms) == 1 and dim.terms[0][0] == ():
            return dim.terms[0][1]
        return dim

    def __add__(self, other):
        if not isinstance(other, (int, Dim, np.integer)):
            return NotImplemented
        total = Dim._terms(self)
        for k, v in Dim._terms(other).items():
            total[k] = total.get(k, 0) + v
        return Dim._made(total)

    __radd__ = __add__

    def __mul__(self, other):
        if not isinstance(other, (int, Dim, np.integer)):
            return NotImplemented
        total: dict = {}
        for k, v in Dim._terms(self).items():
            for m, w in Dim._terms(other).items():
                key = tuple(sorted(k + m))
                total[key] = total.get(key, 0) + v * w
        return Dim._made(total)

    __rmul__ = __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return -self + other

    def __floordiv__(self, other):
        """Exact division only: 6*n // 3, n*m // m."""
        terms = {}
        if isinstance(other, Dim):
            if len(other.terms) != 1:
                if self == other:
                    return 1
                raise _needs_number(self, f"// {other}")
            (symbols, factor) = other.terms[0]
        else:
            symbols, factor = (), int(other)
        for k, v in self.terms:
            left = list(k)
            for s in symbols:
                if s not in left:
                    raise _needs_number(self, f"// {other}")
                left.remove(s)
            if v % factor:
                raise _needs_number(self, f"// {other}")
            terms[tuple(left)] = v // factor
        return Dim._made(terms)

    def __rfloordiv__(self, other):
        if other == 0:
            return 0
        raise _needs_number(self, f"{other} //")

    def symbols(self) -> tuple[str, ...]:
        """Names in this dim, sorted."""
        return tuple(sorted({s for k, _ in self.terms for s in k}))

    def at(self, values: dict[str, int]) -> int:
        """The number this dim has for given symbols."""
        total = 0
        for k, v in self.terms:
            for s in k:
                v *= values[s]
            total += v
        return total

    def put(self, names: dict[str, Any]):
        """This dim with symbols replaced by other dims."""
        total = 0
        for k, v in self.terms:
            part = v
            for s in k:
                part = part * names.get(s, Dim.symbol(s))
            total = total + part
        return total

    def __eq__(self, other):
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self):
        return hash(self.terms)

    def __str__(self):
        text = ""
        for k, v in sorted(self.terms, key=lambda kv: (-len(kv[0]), kv[0])):
            sign, size = ("-" if v < 0 else "+"), abs(v)
            body = "*".join(([str(size)] if size != 1 or not k else []) + list(k))
            text += (sign if text or sign == "-" else "") + body
        return text

    __repr__ = __str__

    def _no(self, *_):
        raise _needs_number(self, "a Python number")

    __int__ = __index__ = __bool__ = __float__ = __lt__ = __gt__ = __le__ = __ge__ = _no


def _needs_number(dim, use):
    return TraceError(
        "symbolic dim",
        f"{use} needs the number that '{dim}' stands for, which is known only at run time",
        expected="a static dim",
        got=f"the symbolic dim '{dim}'",
        fix="fix this dim in the signature, e.g. signature=(ga.spec('4 3'),), or call with arrays",
    )


def parse_dim(text: str):
    """Read a dim as `str` prints it: '12', 'n', '2*n+1', 'n*m-n'."""
    total: Any = 0
    for term in text.replace("-", "+-").split("+"):
        if not term:
            continue
        part: Any = 1
        if term[0] == "-":
            part, term = -1, term[1:]
        for factor in term.split("*"):
            if factor.isdigit():
                part = part * int(factor)
            elif factor.isidentifier():
                part = part * Dim.symbol(factor)
            else:
                raise ShapeError(
                    "spec", f"'{text}' is no dim", expected="an integer or a name", got=factor
                )
        total = total + part
    return total


def is_static(shape) -> bool:
    """Whether every dim is a number."""
    return all(isinstance(d, int) for d in shape)


def size_of(shape):
    """The number of elements: an int, or a Dim."""
    total: Any = 1
    for d in shape:
        total = total * d
    return total


FLOATS = (np.dtype("f8"), np.dtype("f4"))
ALLOWED = {np.dtype(c) for c in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")}


def check_dtype(dtype, operation="spec") -> np.dtype:
    """The dtype if graphad has it; complex, half precision, objects and strings are errors."""
    dtype = np.dtype(dtype)
    if dtype not in ALLOWED or not dtype.isnative:
        if dtype.kind == "c":
            fix = "split it into real and imaginary parts: x.real, x.imag"
        elif dtype.kind in "iufb":
            fix = f"cast it first: x.astype({'float32' if dtype.kind == 'f' else 'int64'!r})"
        else:
            fix = "pass numbers: x.astype('float64')"
        raise DTypeError(
            operation,
            f"dtype {dtype} is not supported",
            expected="float64, float32, an integer type or bool",
            got=str(dtype),
            fix=fix,
        )
    return dtype


_SHORT = {"?": "bool", "b": "i8", "h": "i16", "i": "i32", "l": "i64", "q": "i64"}
_SHORT |= {"B": "u8", "H": "u16", "I": "u32", "L": "u64", "Q": "u64", "f": "f32", "d": "f64"}
_LONG = {v: np.dtype(k) for k, v in reversed(_SHORT.items())}


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of a value. `weak`: a Python number, which takes the array's dtype."""

    shape: tuple
    dtype: np.dtype
    weak: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements."""
        return size_of(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether values of this spec are differentiated."""
        return self.dtype.kind == "f"

    def __str__(self):
        dims = ",".join(map(str, self.shape))
        return f"{_SHORT[self.dtype.char]}{'~' if self.weak else ''}[{dims}]"

    @staticmethod
    def parse(text: str) -> Spec:
        """Read a spec as `str` prints it: 'f64[n,3]'."""
        head, dims = text[:-1].split("[")
        weak = head.endswith("~")
        shape = tuple(parse_dim(d) for d in dims.split(",") if d)
        return Spec(shape, _LONG[head.rstrip("~")], weak)

    def put(self, names) -> Spec:
        """This spec with symbols replaced."""
        shape = tuple(d.put(names) if isinstance(d, Dim) else d for d in self.shape)
        return Spec(shape, self.dtype, self.weak)


def spec(shape="", dtype="f8") -> Spec:
    """A shape with symbolic dims, for `signature=` and `njit`.

    >>> spec('n 3', 'f8')
    Spec(shape=(n, 3), dtype=dtype('float64'), weak=False)

    Dims are integers or names, separated by blanks (or a tuple of both); equal names are equal
    sizes, checked at each call.
    """
    parts = shape.replace(",", " ").split() if isinstance(shape, str) else shape
    dims = tuple(parse_dim(p) if isinstance(p, str) else p for p in parts)
    return Spec(dims, check_dtype(dtype))


class Unify(Exception):
    """Two dims met that must be equal: the trace starts again with one name for both."""

    def __init__(self, a, b):
        super().__init__(a, b)
        self.pair = (a, b)


def same_dim(a, b) -> bool:
    """Whether two dims are equal; two that can be made so by renaming a symbol raise `Unify`."""
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Dim) and len(one.terms) == 1 and one.terms[0][1] == 1:
            symbols = one.terms[0][0]
            if len(symbols) == 1 and symbols[0] not in getattr(other, "symbols", tuple)():
                raise Unify(symbols[0], other)
    return False


def broadcast_shapes(operation, *shapes, where=None):
    """The common shape of NumPy's broadcasting; a symbolic dim is never taken to be 1."""
    rank = max(map(len, shapes), default=0)
    out = []
    for axis in range(-rank, 0):
        dim: Any = 1
        for shape in shapes:
            if -axis <= len(shape) and shape[axis] != 1:
                if dim == 1 and isinstance(dim, int):
                    dim = shape[axis]
                elif not same_dim(dim, shape[axis]):
                    listed = " and ".join("(" + ", ".join(map(str, s)) + ")" for s in shapes)
                    raise ShapeError(
                        operation,
                        "shapes do not broadcast together",
                        where=where,
                        expected=f"equal dims or 1 at axis {axis}",
                        got=f"shapes {listed}",
                        fix="reshape one of them, e.g. x[:, None]",
                    )
        out.append(dim)
    return tuple(out)


_WEAK = {"f": 0.0, "i": 0, "b": False, "u": 0}


def promote(*specs) -> np.dtype:
    """The common dtype by NumPy 2's rules: a weak spec counts as a Python number."""
    kinds = [_WEAK[s.dtype.kind] if s.weak else s.dtype for s in specs]
    result = np.result_type(*kinds)
    return check_dtype(result, "promotion")

"""A graph of few scalars as a list of scalars, each an operation of earlier ones.

The graph is run on arrays of scalars, so structural operations cost nothing, exact zeros of
derivatives vanish and equal scalars are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphad.errors import Where
from graphad.graph import Graph, Node
from graphad.lower.order import BLOCK, in_order, start_of
from graphad.lower.program import STEP
from graphad.lower.scalar_linalg import CHOOSE, written
from graphad.spec import Spec

# Operations beside those of the table, `load`, steps of reductions (`combine max`) and those of
# scalar_linalg.py.
ADD, TIMES = "a + b", "a * b"
BEYOND = {"argmax": "a beyond b", "argmin": "a below b"}  # or nan, where b is none


class Term:
    """What an operation is given: a scalar, a number, or a variable that stands already."""

    __slots__ = ()


class Ref(Term):
    """The scalar of this number; there is one of each."""

    __slots__ = ("id",)

    def __init__(self, number: int):
        self.id = number

    def __str__(self):
        return f"v{self.id}"


class Literal(Term):
    """A number of a dtype; equal to what is written in the same way, so -0 is not 0."""

    __slots__ = ("dtype", "key", "value")

    def __init__(self, value, dtype):
        self.value, self.dtype = value, dtype
        self.key = (repr(value), dtype.num)

    def __eq__(self, other):
        return isinstance(other, Literal) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def __str__(self):
        return str(self.value)


@dataclass(frozen=True)
class Given(Term):
    """A variable of the kernel around the scalars."""

    name: str

    def __str__(self):
        return self.name


class Scalar(NamedTuple):
    """One scalar. `operand`: the dtype that an operation of the table is for. A load is `at` (the
    number of the pointer, elements of its rows or 0, the element)."""

    id: int
    op: str
    args: tuple[Term, ...]
    dtype: np.dtype
    where: Where
    operand: np.dtype | None = None
    at: tuple = ()

    def __str__(self):
        if self.op == "load":
            pointer, row, element = self.at
            inside = f"p{pointer}[{'row, ' if row else ''}{element}]"
        else:
            inside = ", ".join(map(str, self.args))
        return f"v{self.id} = {self.op}({inside})"


class Put(NamedTuple):
    """A store of a term: number of the pointer, elements of its rows or 0, the element."""

    pointer: int
    row: int
    element: int
    value: Term
    dtype: np.dtype
    where: Where

    def __str__(self):
        return f"p{self.pointer}[{'row, ' if self.row else ''}{self.element}] = {self.value}"


def needed(scalars: Iterable[Scalar], wanted: Iterable[Term]) -> tuple[Scalar, ...]:
    """Only the scalars that these terms are made of."""
    ids = {t.id for t in wanted if isinstance(t, Ref)}
    kept = []
    for s in reversed(list(scalars)):
        if s.id in ids:
            ids.update(a.id for a in s.args if isinstance(a, Ref))
            kept.append(s)
    return tuple(kept[::-1])


class Zero:
    """An exact zero that a derivative or padding put there; adding it changes nothing."""

    def __repr__(self):
        return "0"


ZERO = Zero()


class Straightener:
    """Runs a graph on arrays of scalars: terms, and numbers that are known."""

    def __init__(self, graph: Graph, batched: frozenset[int] = frozenset()):
        self.graph = graph
        self.batched = batched  # inputs of which there is one for each example
        self.buffer_of: dict[int, int] = {}
        self.scalars: list[Scalar] = []
        self.known: dict[Any, Ref] = {}
        self.pointers: list[int] = []  # buffers that are loaded from
        self.values: list[Any] = []
        self.checks: list[tuple[Term, int]] = []  # conditions, and the status where one holds

    def put(self, op: str, args, result, where: Where, operand=None, at: tuple = ()) -> Ref:
        """The scalar that is this operation of terms; equal ones are computed once."""
        key = (op, *args, result.num, at)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = Ref(len(self.scalars))
            self.scalars.append(Scalar(found.id, op, tuple(args), result, where, operand, at))
        return found

    def term(self, value, dtype) -> Term:
        """A scalar as an argument."""
        if isinstance(value, Term):
            return value
        return Literal(0 if value is ZERO else value, dtype)

    def run(self):
        """Evaluate every node."""
        for node in self.graph.nodes:
            if node.op.name == "pick":
                self.values.append(self.values[node.args[0]][node.param("index")])
            elif node.op.lowering == "routine":
                args = [self.values[a] for a in node.args]
                self.values.append(written(self, node, args))
            else:
                self.values.append(np.asarray(self._node(node), object).reshape(node.spec.shape))

    def _node(self, node: Node):
        args = [self.values[a] for a in node.args]
        kind, spec = node.op.lowering, node.spec
        if kind in ("input", "captured"):
            return self._loads(node)
        if kind in ("const", "iota"):
            plain = node.op.reference([], node.options, spec)
            return objects(plain.ravel().tolist(), spec.shape)
        if kind == "loop":
            return self._pointwise(node, args)
        if kind == "reduce":
            return self._reduce(node, args[0])
        if kind == "contract":
            return self._contract(node, *args)
        if kind == "scan":
            return self._scan(node, args[0])
        if node.op.name == "embed":
            out = np.full(spec.shape, ZERO, object)
            out[_range(node, args[0].shape)] = args[0]
            return out
        if node.op.name == "slice":
            return args[0][_range(node, spec.shape)]
        return node.op.reference(args, node.options, _ObjectSpec(spec.shape))

    def _loads(self, node):
        self.pointers.append(self.buffer_of[node.id])
        row = node.spec.size if node.id in self.batched else 0
        return self.loaded(node, len(self.pointers) - 1, row)

    def loaded(self, node, pointer: int, row: int):
        """Every element behind a pointer, or of one of its rows of so many elements."""
        spec, where = node.spec, node.where
        flat = [self.put("load", (), spec.dtype, where, at=(pointer, row, i))
                for i in range(spec.size)]  # fmt: skip
        return objects(flat, spec.shape)

    def _pointwise(self, node, args):
        dtypes = [self.graph.nodes[a].spec.dtype for a in node.args]
        flats = [a.ravel().tolist() for a in args]
        out = [self._scalar(node, xs, dtypes) for xs in zip(*flats, strict=True)]
        return objects(out, node.spec.shape)

    def _scalar(self, node: Node, xs: tuple, dtypes):
        name, dtype = node.op.name, node.spec.dtype
        known = _known(name, xs)
        if known is not None:
            return known
        if not any(isinstance(x, Term) for x in xs):
            numbers = [
                np.asarray(0 if x is ZERO else x, d) for x, d in zip(xs, dtypes, strict=True)
            ]
            with np.errstate(all="ignore"):
                out = node.op.reference(numbers, node.options, Spec((), dtype))
            return np.asarray(out).item()
        terms = [self.term(x, d) for x, d in zip(xs, dtypes, strict=True)]
        return self.put(name, terms, dtype, node.where, dtypes[-1])

    def _add(self, a, b, dtype, where):
        if a is ZERO:
            return b
        if b is ZERO:
            return a
        return self.put(ADD, (self.term(a, dtype), self.term(b, dtype)), dtype, where)

    def _reduce(self, node: Node, x):
        axes = node.param("axes")
        source = self.graph.nodes[node.args[0]].spec
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = np.transpose(x, (*kept, *axes)).reshape(
            int(np.prod([x.shape[a] for a in kept], dtype=int)), *[x.shape[a] for a in axes]
        )
        out = [self._reduce_one(node, row, source.dtype) for row in rows]
        return objects(out, node.spec.shape)

    def _reduce_one(self, node, row, dtype):
        name = {"reduce_max": "max", "reduce_min": "min"}.get(node.op.name, node.op.name)
        if name in ("argmax", "argmin"):
            return self._arg(node, list(row.ravel()), dtype, BEYOND[name])
        # The order of docs/design.md, "Sums": blocks of lanes over the innermost axis if it is
        # reduced, then one after another over the others.
        if row.size == 0:
            return self._line(name, [], dtype, node.where)
        axes = node.param("axes")
        inner = self._inner_axis(node)
        total = None
        lead = row.reshape(-1, row.shape[-1]) if inner in axes and row.ndim else row.reshape(-1, 1)
        for line in lead:
            part = self._line(name, list(line), dtype, node.where)
            total = part if total is None else self._step(name, total, part, dtype, node.where)
        return total

    def _inner_axis(self, node):
        shape = self.graph.nodes[node.args[0]].spec.shape
        long = [a for a, d in enumerate(shape) if d != 1]
        return long[-1] if long else -1

    def _step(self, name, a, b, dtype, where):
        if name == "sum":
            return self._add(a, b, dtype, where)
        return self.put(STEP + name, (self.term(a, dtype), self.term(b, dtype)), dtype, where)

    def _line(self, name, items, dtype, where):
        total: Any = None
        for k in range(0, len(items), BLOCK):
            part = self._block(name, items[k : k + BLOCK], dtype, where)
            total = part if total is None else self._step(name, total, part, dtype, where)
        if total is None:
            return ZERO if name == "sum" else Literal(start_of(name, dtype), dtype)
        return total

    def _block(self, name, part, dtype, where):
        """Lanes, a tree of halves, then the rest one by one."""

        def step(a, b):
            return self._step(name, a, b, dtype, where)

        return in_order(part, step, None)

    def _arg(self, node, items, dtype, beyond):
        integer, truth = np.dtype("i8"), np.dtype("?")
        best, at = self.term(items[0], dtype), self.term(0, integer)
        for k, item in enumerate(items[1:], 1):
            v = self.term(item, dtype)
            better = self.put(beyond, (v, best), truth, node.where)
            at = self.put(CHOOSE, (better, self.term(k, integer), at), integer, node.where)
            best = self.put(CHOOSE, (better, v, best), dtype, node.where)
        return at

    def _scan(self, node, x):
        axis = node.param("axis")
        dtype = node.spec.dtype
        moved = np.moveaxis(x, axis, -1).copy()
        rows = moved.reshape(-1, x.shape[axis]) if moved.size else moved.reshape(0, 1)
        for row in rows:
            order = range(len(row))[::-1] if node.param("reverse") else range(len(row))
            total = ZERO
            for k in order:
                total = self._add(total, row[k], dtype, node.where)
                row[k] = total
        return np.moveaxis(rows.reshape(moved.shape), -1, axis)

    def _contract(self, node, x, y):
        left, right, out = node.param("left"), node.param("right"), node.param("out")
        other = out + "".join(c for c in left if c not in out)
        dims = dict(zip(left + right, x.shape + y.shape, strict=True))
        result = []
        dtype = node.spec.dtype
        for place in np.ndindex(*[dims[c] for c in out]):
            terms = []
            at = dict(zip(out, place, strict=True))
            for inner in np.ndindex(*[dims[c] for c in other[len(out) :]]):
                at.update(zip(other[len(out) :], inner, strict=True))
                a = x[tuple(at[c] for c in left)]
                b = y[tuple(at[c] for c in right)]
                terms.append(self._multiply(a, b, dtype, node.where))
            result.append(self._line("sum", terms, dtype, node.where))
        return objects(result, node.spec.shape)

    def _multiply(self, a, b, dtype, where):
        # An exact zero times anything finite; a product of constants is left to the compiler.
        if a is ZERO or b is ZERO:
            return ZERO
        return self.put(TIMES, (self.term(a, dtype), self.term(b, dtype)), dtype, where)


class _ObjectSpec:
    """Shape of an array of names, for the reference functions of structural operations."""

    dtype = np.dtype(object)

    def __init__(self, shape):
        self.shape = shape


def objects(items, shape):
    """An array of terms and numbers."""
    out = np.empty(len(items), object)
    out[:] = items
    return out if shape == out.shape else out.reshape(shape)


def _range(node: Node, shape) -> tuple[slice, ...]:
    """The elements that a slice or embed is about, as NumPy's slices."""
    found = []
    for first, step, n in zip(node.param("start"), node.param("step"), shape, strict=True):
        end = first + step * n
        found.append(slice(first, end if end >= 0 else None, step) if n else slice(0, 0))
    return tuple(found)


def _is_finite(x) -> bool:
    """Whether a scalar is known, and finite."""
    return x is ZERO or (not isinstance(x, Term) and math.isfinite(x))


def _known(name: str, xs: tuple):
    """The result where structural zeros decide it, else None."""
    if name == "scale" and any(x is ZERO or (not isinstance(x, Term) and x == 0) for x in xs):
        return ZERO
    if name == "scale":
        for x, other in (xs, xs[::-1]):
            if not isinstance(x, Term) and x == 1:
                return other
    if name == "add":
        if xs[0] is ZERO:
            return xs[1]
        if xs[1] is ZERO:
            return xs[0]
    if name == "sub" and xs[1] is ZERO:
        return xs[0]
    if name == "mul" and any(x is ZERO for x in xs) and all(map(_is_finite, xs)):
        return ZERO
    if name in ("neg", "convert") and xs[0] is ZERO:
        return ZERO
    if name == "select" and (not isinstance(xs[0], Term)):
        return xs[1] if xs[0] is not ZERO and xs[0] else xs[2]
    return None

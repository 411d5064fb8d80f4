"""Solves and factorisations of small matrices as lists of scalars: elimination written out.

Rows are exchanged by selects, so that batches are vectorised; a pivot of 0 is noted, and the kernel
returns the status of it when it is done.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphad.graph import Graph, Node
from graphad.ops.factor import SMALL
from graphad.status import NOT_POSITIVE, SINGULAR

TRUTH = np.dtype("?")
# Operations beside those of the table.
OVER, LESS, CHOOSE, ROOT = "a / b", "a - b * c", "a ? b : c", "root of a"
LARGER, EQUAL, NOT_ABOVE = "|a| > |b|", "a == b", "not a > b"
NAMES = ("solve", "small_solve", "lu", "cholesky", "triangular_solve")


def takes_matrix(graph: Graph, node: Node) -> bool:
    """Whether an operation is written out."""
    if node.op.name == "pick":
        return takes_matrix(graph, graph.nodes[node.args[0]])
    if node.op.name not in NAMES:
        return False
    shapes = [graph.nodes[node.args[k]].spec.shape for k in (0, -1)]
    return all(len(s) == 2 and 0 not in s for s in shapes) and shapes[0][-1] <= SMALL


def work_of(graph: Graph, node: Node) -> int:
    """About how many scalar operations it is."""
    n = graph.nodes[node.args[0]].spec.shape[-1] if node.op.name != "pick" else 0
    columns = graph.nodes[node.args[-1]].spec.shape[-1] if node.op.name != "pick" else 0
    return n * n * (n + 2 * columns)


class Elimination:
    """Arithmetic on scalars, in the list of scalars being made."""

    def __init__(self, straightener, node: Node):
        self.s, self.where = straightener, node.where
        spec = node.spec if not isinstance(node.spec, tuple) else node.spec[0]
        self.dtype = spec.dtype

    def put(self, op: str, *args, result=None, dtype=None):
        """The scalar of an operation."""
        terms = [self.s.term(a, dtype or self.dtype) for a in args]
        return self.s.put(op, terms, result or self.dtype, self.where)

    def less(self, a, b, c):
        """a - b c."""
        return self.put(LESS, a, b, c)

    def over(self, a, b):
        """a / b."""
        return self.put(OVER, a, b)

    def choose(self, condition, a, b, dtype=None):
        """condition ? a : b."""
        return self.put(CHOOSE, condition, a, b, result=dtype, dtype=dtype)

    def test(self, op: str, a, b):
        """Whether it holds."""
        return self.put(op, a, b, result=TRUTH)

    def note(self, condition, status: int):
        """Let the kernel return a status where a condition holds."""
        self.s.checks.append((condition, status))

    def pivoted(self, a, others: list[Any], order=None):
        """Eliminate below the diagonal, rows exchanged for the largest pivot: the multipliers take
        the place of what becomes 0. `others` are arrays whose rows go along, `order` one of row
        numbers."""
        n, integer = len(a), np.dtype("i8")
        for k in range(n):
            for r in range(k + 1, n):
                swap = self.test(LARGER, a[r, k], a[k, k])
                for m in [a, *others]:
                    for j in range(m.shape[1]):
                        top, low = m[k, j], m[r, j]
                        m[k, j], m[r, j] = self.choose(swap, low, top), self.choose(swap, top, low)
                if order is not None:
                    top, low = order[k, 0], order[r, 0]
                    order[k, 0] = self.choose(swap, low, top, integer)
                    order[r, 0] = self.choose(swap, top, low, integer)
            for r in range(k + 1, n):
                # Of a column of zeros nothing is left to eliminate.
                zero = self.test(EQUAL, a[k, k], 0)
                safe = self.choose(zero, 1, a[k, k])
                a[r, k] = self.over(a[r, k], safe)
                for j in range(k + 1, n):
                    a[r, j] = self.less(a[r, j], a[r, k], a[k, j])

    def lower(self, a, b, unit: bool, turned: bool = False):
        """Solve with the lower triangle (or its transpose), in the place of b."""
        n = len(a)
        for i in range(n) if not turned else reversed(range(n)):
            before = range(i) if not turned else range(i + 1, n)
            for c in range(b.shape[1]):
                for j in before:
                    b[i, c] = self.less(b[i, c], a[i, j] if not turned else a[j, i], b[j, c])
                if not unit:
                    b[i, c] = self.over(b[i, c], a[i, i])

    def checked(self, a):
        """Note zeros on the diagonal."""
        for k in range(len(a)):
            self.note(self.test(EQUAL, a[k, k], 0), SINGULAR)


def written(straightener, node: Node, args: list[Any]):
    """The results of an operation, as arrays of scalars."""
    e = Elimination(straightener, node)
    a = np.array(args[0], object)
    if node.op.name == "lu":
        return _lu(e, a)
    if node.op.name == "cholesky":
        return _cholesky(e, a)
    if node.op.name == "triangular_solve":
        b = np.array(args[1], object)
        low, turned, unit = (node.param(p) for p in ("low", "turned", "unit"))
        if not unit:
            e.checked(a)
        if low:
            e.lower(a, b, unit, turned)
        else:
            e.lower(a.T, b, unit, not turned)
        return b
    b = np.array(args[-1], object)
    a = np.array(a.T if node.param("turned") else a, object)
    e.pivoted(a, [b])
    e.checked(a)
    e.lower(a, b, unit=True)
    e.lower(a.T, b, unit=False, turned=True)
    return b


def _lu(e: Elimination, a):
    """Packed factors and the order of the rows."""
    order = np.array([[k] for k in range(len(a))], object)
    e.pivoted(a, [], order)
    return [a, order[:, 0]]


def _cholesky(e: Elimination, a):
    n = len(a)
    for j in range(n):
        for k in range(j):
            a[j, j] = e.less(a[j, j], a[j, k], a[j, k])
        e.note(e.test(NOT_ABOVE, a[j, j], 0), NOT_POSITIVE)
        a[j, j] = e.put(ROOT, a[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                a[i, j] = e.less(a[i, j], a[i, k], a[j, k])
            a[i, j] = e.over(a[i, j], a[j, j])
            a[j, i] = 0
    return a

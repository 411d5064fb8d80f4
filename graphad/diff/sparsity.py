"""Which elements depend on which: exact sparsity of Jacobians, and their block triangular form.

For each node and argument there is a sparse boolean matrix of the partials that may be other than
zero (`edges`); products of these along the graph say what depends on what. What is constant is
computed, so masks and triangles count: `x @ (W * mask)` and `np.tril` show their zeros.

A square pattern is brought to block triangular form as in sparse direct solvers: a matching of rows
and columns, then strongly connected components (Duff and Reid 1978, algorithm 529).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphad.graph import Graph, Node, dependents
from graphad.op import complete
from graphad.ops.contract import dims_of
from graphad.spec import Spec, is_static

MOVES = ("view", "place")  # lowerings of operations that move elements


def _sparse(rows, columns, shape):
    from scipy import sparse

    ones = np.ones(len(rows), bool)
    return sparse.csr_array((ones, (rows, columns)), shape=shape)


def _product(a, b):
    """Of boolean matrices."""
    return (a.astype(np.int32) @ b.astype(np.int32)).astype(bool)


class Dependence:
    """What each node's elements depend on: elements of `source`, for nodes up to `last`."""

    def __init__(self, nodes: Sequence[Node], captured, source: int, last: int):
        self.nodes, self.captured, self.source, self.last = nodes, captured, source, last
        self.active = dependents(nodes, [source], last)
        self.known: dict[int, Any] = {}  # values of constants
        self.may: dict[int, np.ndarray] = {}  # which elements may be other than 0
        self.edges: dict[int, list[tuple[int, Any]]] = {}  # (argument, matrix) for each node
        self.forward: dict[int, Any] = {source: self._identity(nodes[source].spec.size)}
        for node in nodes[: last + 1]:
            self._visit(node)

    def _identity(self, n):
        return _sparse(np.arange(n), np.arange(n), (n, n))

    def _visit(self, node: Node):
        if not isinstance(node.spec, Spec):
            if node.id in self.active:
                self.edges[node.id] = []
            return
        if node.id not in self.active:
            self._constant(node)
        elif node.id != self.source:
            found: dict[int, Any] = {}
            for a, e in self._edges(node):
                found[a] = e if a not in found else (found[a] + e).astype(bool)
            self.edges[node.id] = list(found.items())
            total = None
            for a, e in found.items():
                part = _product(e, self.forward[a])
                total = part if total is None else (total + part).astype(bool)
            size = self.nodes[self.source].spec.size
            self.forward[node.id] = _sparse([], [], (node.spec.size, size)) if total is None else (
                total)  # fmt: skip
        self.may[node.id] = self._may_be_nonzero(node)

    def _constant(self, node: Node):
        """The value of a node that is known while tracing."""
        if node.op.name == "captured":
            self.known[node.id] = np.asarray(self.captured[node.param("index")])
        elif node.op.name in ("input", "placeholder", "dim") or node.op.family == "control":
            return
        elif is_static(node.spec.shape) and all(a in self.known for a in node.args):
            values = [self.known[a] for a in node.args]
            with np.errstate(all="ignore"):
                self.known[node.id] = np.asarray(
                    node.op.reference(values, node.options, node.spec), node.spec.dtype
                )

    def _may_be_nonzero(self, node: Node) -> np.ndarray:
        if node.id in self.known:
            return self.known[node.id].ravel() != 0
        size, args = node.spec.size, node.args
        name = node.op.name
        if name in ("mul", "scale"):
            return self._spread(args[0], size) & self._spread(args[1], size)
        if name in ("add", "sub"):
            return self._spread(args[0], size) | self._spread(args[1], size)
        if name in ("neg", "convert", "stop_gradient", "alias"):
            return self._spread(args[0], size)
        if name == "select" and args[0] in self.known:
            test = np.broadcast_to(self.known[args[0]].ravel(), (size,))
            return np.where(test, self._spread(args[1], size), self._spread(args[2], size))
        if node.op.family == "linear" and node.op.lowering in MOVES:
            moved = self._moved(node)
            if moved is not None:
                return sum((e @ self.may[a].astype(np.int32) for a, e in moved),
                           np.zeros(size, np.int32)) > 0  # fmt: skip
        return np.ones(size, bool)

    def _spread(self, a: int, size: int) -> np.ndarray:
        return np.broadcast_to(self.may[a], (size,))

    # -- partials of one node ---------------------------------------------------------------------
    def _edges(self, node: Node) -> list[tuple[int, Any]]:
        """(argument, matrix) for each active argument of floats."""
        op = node.op
        which = [a for a in node.args if a in self.active and self._is_float(a)]
        if not which or not node.spec.is_float or op.name == "stop_gradient":
            return []
        if op.name == "pick":
            return self._picked(node)
        if op.lowering == "loop":
            return self._pointwise(node)
        if op.name == "contract":
            return self._contracted(node)
        found = None
        if op.lowering == "reduce":
            found = self._reduced(node)
        elif op.name == "cumsum":
            found = self._cumulated(node)
        elif op.family == "linear":
            found = self._moved(node)
        if found is None:
            found = [(a, self._all(node.spec.size, self.nodes[a].spec.size)) for a in which]
        return [(a, e) for a, e in found if a in self.active and self._is_float(a)]

    def _is_float(self, a: int) -> bool:
        spec = self.nodes[a].spec
        return not isinstance(spec, Spec) or spec.is_float

    def _all(self, rows: int, columns: int):
        from scipy import sparse

        return sparse.csr_array(np.ones((rows, columns), bool))

    def _pointwise(self, node: Node):
        size, found = node.spec.size, []
        for k, a in enumerate(node.args):
            if a not in self.active or not self._is_float(a):
                continue
            keep = np.ones(size, bool)
            if node.op.name in ("mul", "scale"):
                keep = self._spread(node.args[1 - k], size)
            elif node.op.name == "select" and node.args[0] in self.known:
                test = np.broadcast_to(self.known[node.args[0]].ravel(), (size,)).astype(bool)
                keep = test if k == 1 else ~test
            rows = np.flatnonzero(keep)
            own = self.nodes[a].spec.size
            columns = rows if own == size else np.zeros_like(rows)
            found.append((a, _sparse(rows, columns, (size, own))))
        return found

    def _moved(self, node: Node):
        """Of an operation that moves elements, by moving their numbers; None where that depends
        on values that are not known."""
        if node.op.name == "scatter_add":
            if not all(a in self.known for a in node.args[1:]):
                return None
            out = np.arange(node.spec.size).reshape(node.spec.shape)
            rows = out[tuple(self.known[a] for a in node.args[1:])].ravel()
            first = node.args[0]
            return [(first, _sparse(rows, np.arange(len(rows)), (node.spec.size, len(rows))))]
        linear = node.op.linear_args or tuple(range(len(node.args)))
        arrays, start, first = [], 1, {}
        for k, a in enumerate(node.args):
            spec = self.nodes[a].spec
            if k not in linear:
                if node.op.name != "barrier" and a not in self.known:
                    return None
                arrays.append(self.known.get(a))
                continue
            first[k] = start
            arrays.append(np.arange(start, start + spec.size).reshape(spec.shape))
            start += spec.size
        spec = Spec(node.spec.shape, np.dtype("i8"))
        numbers = np.asarray(node.op.reference(arrays, node.options, spec)).ravel()
        found = []
        for k, begin in first.items():
            own = self.nodes[node.args[k]].spec.size
            rows = np.flatnonzero((numbers >= begin) & (numbers < begin + own))
            found.append((node.args[k], _sparse(rows, numbers[rows] - begin, (len(numbers), own))))
        return found

    def _reduced(self, node: Node):
        a = node.args[0]
        shape = self.nodes[a].spec.shape
        rows = np.arange(node.spec.size).reshape(node.spec.shape)
        rows = np.broadcast_to(np.expand_dims(rows, node.param("axes")), shape).ravel()
        return [(a, _sparse(rows, np.arange(len(rows)), (node.spec.size, len(rows))))]

    def _cumulated(self, node: Node):
        shape, axis = node.spec.shape, node.param("axis")
        places = np.moveaxis(np.arange(node.spec.size).reshape(shape), axis, -1)
        i, j = np.tril_indices(shape[axis])
        if node.param("reverse"):
            i, j = j, i
        rows, columns = places[..., i].ravel(), places[..., j].ravel()
        return [(node.args[0], _sparse(rows, columns, (node.spec.size, node.spec.size)))]

    def _contracted(self, node: Node):
        left, right, out = (node.param(p) for p in ("left", "right", "out"))
        specs = [self.nodes[a].spec for a in node.args]
        dims: dict[str, Any] = dims_of(specs, node.options)
        labels = list(dims)
        grid = np.indices([dims[c] for c in labels]).reshape(len(labels), -1)

        def place(word) -> Any:
            if not word:
                return np.zeros(grid.shape[1], np.int64)
            at = [grid[labels.index(c)] for c in word]
            return np.ravel_multi_index(at, [dims[c] for c in word])

        rows, places, found = place(out), [place(left), place(right)], []
        for k, a in enumerate(node.args):
            if a in self.active:
                keep = self.may[node.args[1 - k]][places[1 - k]]
                matrix = _sparse(rows[keep], places[k][keep], (node.spec.size, specs[k].size))
                found.append((a, matrix.astype(bool)))
        return found

    def places(self, node: Node, rows, columns, argument: int, other: int):
        """Of a product's partials (row, column) the elements of the other argument that they are;
        None where they do not tell them apart."""
        words = {a: node.param(p) for a, p in zip(node.args, ("left", "right"), strict=True)}
        out, own, word = node.param("out"), words[argument], words[other]
        if set(word) != set(out) | set(own):
            return None
        at = dict(zip(own, np.unravel_index(columns, self.nodes[argument].spec.shape), strict=True))
        at |= dict(zip(out, np.unravel_index(rows, node.spec.shape), strict=True))
        return np.ravel_multi_index([at[c] for c in word], self.nodes[other].spec.shape)

    def _picked(self, node: Node):
        """Of one result of an operation that has several: through its graph, or everything."""
        whole, found = self.nodes[node.args[0]], []
        for k, a in enumerate(whole.args):
            if a not in self.active or not self._is_float(a):
                continue
            shape = (node.spec.size, self.nodes[a].spec.size)
            if whole.op.depends is None:
                found.append((a, self._all(*shape)))
                continue
            matrix = whole.op.depends(whole, node.param("index"), k)
            found.append((a, _sparse([], [], shape) if matrix is None else matrix))
        return found

    # -- backward ---------------------------------------------------------------------------------
    def backward(self, output: int, rows) -> dict[int, Any]:
        """For each node which of the given rows (a matrix of output elements by groups) its
        elements reach."""
        found = {output: rows}
        for node in reversed(self.nodes[: output + 1]):
            reached = found.get(node.id)
            if reached is None:
                continue
            for a, e in self.edges.get(node.id, ()):
                part = _product(e.T.tocsr(), reached)
                found[a] = part if a not in found else (found[a] + part).astype(bool)
        return found


def _through_call(node: Node, index: int, k: int):
    """The pattern of a result of a call in its k-th argument; None if it does not depend on it."""
    graph: Graph = node.param("graph")
    inner = Dependence(graph.nodes, graph.captured, graph.inputs[k], len(graph.nodes) - 1)
    return inner.forward.get(graph.outputs[index])


complete("call", depends=_through_call)


@dataclass(frozen=True)
class Structure:
    """The block triangular form of a square Jacobian.

    Row i is matched with column `match[i]`; rows of equal `block[i]` form a diagonal block, and a
    block needs only blocks of a lower `level`. `separable`: one pass for each column of the
    largest block has all diagonal blocks.
    """

    size: int
    match: tuple[int, ...]
    block: tuple[int, ...]
    level: tuple[int, ...]
    separable: bool = True

    @property
    def largest(self) -> int:
        """Rows of the largest block."""
        return int(np.bincount(self.block).max())

    @property
    def kind(self) -> str:
        """'diagonal', 'triangular', 'block diagonal', 'block triangular' or 'dense'."""
        if self.largest == self.size > 1:
            return "dense"
        blocks = "block " if self.largest > 1 else ""
        return blocks + ("diagonal" if max(self.level) == 0 else "triangular")

    def blocks(self) -> list[np.ndarray]:
        """Rows of each block."""
        order = np.argsort(self.block, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(np.array(self.block)[order])) + 1)

    def __str__(self):
        if self.kind == "dense":
            return f"dense, slogdet of {self.size} x {self.size}, O(d³)"
        order = np.argsort(self.level, kind="stable")
        text = self.kind
        if self.kind == "triangular" and tuple(order) != tuple(range(self.size)):
            shown = ", ".join(map(str, order[:8])) + (", ..." if self.size > 8 else "")
            text += f" in the order {shown}"
        if self.match != tuple(range(self.size)):
            text += ", columns permuted"
        if self.largest == 1:
            text += ", a sum over the event, O(d)"
        else:
            text += f", slogdet of blocks of {self.largest} x {self.largest} and less"
        passes = self.largest if self.separable else self.size
        return f"{text}; {passes} forward pass{'es' if passes > 1 else ''}"


def block_form(pattern) -> Structure | None:
    """The block triangular form of a square pattern; None where it is singular for any values."""
    from scipy.sparse import csgraph, csr_array

    n = pattern.shape[0]
    pattern = csr_array(pattern)
    if pattern.diagonal().all():
        match = np.arange(n)
    else:
        match = csgraph.maximum_bipartite_matching(pattern, perm_type="column")
        if (match < 0).any():
            return None
    matched = csr_array(pattern[:, match])
    count, block = csgraph.connected_components(matched, directed=True, connection="strong")
    rows, columns = matched.nonzero()
    rows, columns = block[rows], block[columns]
    apart = rows != columns
    needed = _sparse(columns[apart], rows[apart], (count, count))
    level = _levels(needed, count)
    return Structure(n, tuple(match.tolist()), tuple(block.tolist()), tuple(level[block].tolist()))


def _levels(needed, count: int) -> np.ndarray:
    """The longest path to each vertex of an acyclic graph."""
    needed = needed.astype(bool).tocsr()
    waiting = np.bincount(needed.indices, minlength=count)
    level, front, k = np.zeros(count, np.int64), np.flatnonzero(waiting == 0), 0
    while len(front):
        level[front] = k
        pieces = [needed.indices[needed.indptr[v] : needed.indptr[v + 1]] for v in front]
        after = np.concatenate(pieces)
        np.subtract.at(waiting, after, 1)
        after = np.unique(after)
        front, k = after[waiting[after] == 0], k + 1
    return level
